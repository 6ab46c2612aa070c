package rpcnet

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gopush-cluster/internal/backoff"
)

// peer is a daemon that does with each connection what the test says, until
// the test ends.
func peer(t *testing.T, each func(context.Context, net.Conn)) (addr string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				each(ctx, conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return l.Addr().String(), accepted
}

func TestRefusedDialIsNotSentAndPasses(t *testing.T) {
	addr, stop := serve(t, ServerOptions{}, newEcho())
	stop()
	c := dialer(t, addr, ClientOptions{Retry: 50 * time.Millisecond})
	ctx := within(t, time.Minute)
	for range 3 { // the first dials, the others back off
		if err := c.Call(ctx, "Echo.Say", EchoArgs{}, new(EchoReply)); !errors.Is(err, ErrNotSent) {
			t.Fatalf("Call to a closed port = %v, want ErrNotSent", err)
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{})
	if err := s.Register("Echo", newEcho()); err != nil {
		t.Fatal(err)
	}
	sctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(sctx, l) }()
	defer func() { cancel(); <-served }()
	pause := backoff.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond}
	for {
		err := c.Call(ctx, "Echo.Say", EchoArgs{}, new(EchoReply))
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNotSent) || ctx.Err() != nil {
			t.Fatalf("Call while backing off = %v, want ErrNotSent and then success", err)
		}
		pause.Wait(ctx)
	}
}

func TestBackOffIsBounded(t *testing.T) {
	c := dialer(t, "127.0.0.1:1", ClientOptions{Retry: 300 * time.Millisecond})
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 20 {
		c.backOff(errDown)
		if wait := time.Until(c.retryAt); wait > c.opts.Retry {
			t.Fatalf("next dial in %v, want at most %v", wait, c.opts.Retry)
		}
	}
}

func TestHangUpAfterTheCallIsLost(t *testing.T) {
	addr, _ := peer(t, func(_ context.Context, conn net.Conn) {
		conn.Read(make([]byte, 1)) // and away
	})
	c := dialer(t, addr, ClientOptions{})
	err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{Text: "x"}, new(EchoReply))
	if !errors.Is(err, ErrLost) || errors.Is(err, ErrNotSent) {
		t.Errorf("Call = %v, want ErrLost alone", err)
	}
}

func TestHangUpWithinTheCallIsNotSent(t *testing.T) {
	addr, _ := peer(t, func(_ context.Context, conn net.Conn) {
		io.ReadFull(conn, make([]byte, 4096)) // far less than the call
	})
	c := dialer(t, addr, ClientOptions{})
	big := strings.Repeat("x", 64<<20) // more than the sockets between them hold
	err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{Text: big}, new(EchoReply))
	if !errors.Is(err, ErrNotSent) || errors.Is(err, ErrLost) {
		t.Errorf("Call = %v, want ErrNotSent alone", err)
	}
}

// A peer that takes nothing must not hold anybody past their context, however
// long the connection's own timeout is.
func TestStoppedPeerHoldsNobody(t *testing.T) {
	addr, _ := peer(t, func(ctx context.Context, _ net.Conn) { <-ctx.Done() })
	c := dialer(t, addr, ClientOptions{Timeout: time.Hour})
	big := strings.Repeat("x", 8<<20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			err := c.Call(ctx, "Echo.Say", EchoArgs{Text: big}, new(EchoReply))
			if !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Call = %v, want ErrLost or ErrNotSent by its deadline", err)
			}
		})
	}
	wg.Wait()
}

func TestPeerThatTakesNothingIsDropped(t *testing.T) {
	addr, accepted := peer(t, func(ctx context.Context, _ net.Conn) { <-ctx.Done() })
	c := dialer(t, addr, ClientOptions{Timeout: 50 * time.Millisecond})
	big := strings.Repeat("x", 32<<20)
	err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{Text: big}, new(EchoReply))
	if !errors.Is(err, ErrNotSent) {
		t.Errorf("Call = %v after %d connections, want ErrNotSent", err, accepted.Load())
	}
}

// A machine that vanished takes bytes and never answers: its connections are
// given up, not used until the kernel notices.
func TestSilentPeerIsDialedAgain(t *testing.T) {
	addr, accepted := peer(t, func(_ context.Context, conn net.Conn) { io.Copy(io.Discard, conn) })
	c := dialer(t, addr, ClientOptions{Timeout: 20 * time.Millisecond, Retry: time.Millisecond})
	all := within(t, time.Minute)
	for accepted.Load() <= poolSize {
		ctx, cancel := context.WithTimeout(all, 30*time.Millisecond)
		err := c.Call(ctx, "Echo.Say", EchoArgs{}, new(EchoReply))
		cancel()
		if all.Err() != nil || !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotSent) {
			t.Fatalf("Call = %v after %d connections, want ErrLost and a new one", err, accepted.Load())
		}
	}
}

func TestAbandonedCallLeavesTheConnection(t *testing.T) {
	e := newEcho()
	c := dialer(t, start(t, ServerOptions{}, e), ClientOptions{Timeout: time.Hour})
	reply := EchoReply{Text: "before"}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-e.calls
		cancel()
	}()
	err := c.Call(ctx, "Echo.Hold", EchoArgs{Text: "late"}, &reply)
	if !errors.Is(err, ErrLost) || !errors.Is(err, context.Canceled) {
		t.Fatalf("Call = %v, want ErrLost and context.Canceled", err)
	}
	close(e.hold) // its answer comes now
	conns := map[*conn]bool{}
	for range 4 {
		var next EchoReply
		if err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{Text: "next"}, &next); err != nil || next.Text != "next" {
			t.Fatalf("the next call = %v, %+v", err, next)
		}
		for i := range c.slots {
			c.mu.Lock()
			conns[c.slots[i].conn] = true
			c.mu.Unlock()
		}
	}
	delete(conns, nil)
	if len(conns) > poolSize {
		t.Errorf("%d connections were used, want %d at most", len(conns), poolSize)
	}
	if reply.Text != "before" {
		t.Errorf("the reply of the abandoned call became %+v", reply)
	}
}

// All connections break at once, as when the peer is killed: who repeats a lost
// call does so on a new one, and does not find out that the next one is broken,
// too.
func TestRepeatOfALostCallTakesANewConnection(t *testing.T) {
	for range 50 {
		e := newEcho()
		behind := start(t, ServerOptions{}, e)
		var mu sync.Mutex
		var conns []net.Conn
		addr, accepted := peer(t, func(ctx context.Context, conn net.Conn) {
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			relay(ctx, conn, behind, 1<<40, 1<<40)
		})
		c := dialer(t, addr, ClientOptions{})
		ctx := within(t, 10*time.Second)
		var reply EchoReply
		for accepted.Load() < poolSize { // the first call dials once, others the rest
			if err := c.Call(ctx, "Echo.Say", EchoArgs{Text: "x"}, &reply); err != nil {
				t.Fatal(err)
			}
			<-e.calls
		}
		const calls = poolSize + 1 // some connections are idle in between, and one has two
		done := make(chan error, calls)
		for range calls {
			go func() {
				var reply EchoReply
				err := c.Call(ctx, "Echo.Hold", EchoArgs{Text: "x"}, &reply)
				if errors.Is(err, ErrLost) {
					err = c.Call(ctx, "Echo.Say", EchoArgs{Text: "x"}, &reply)
				}
				done <- err
			}()
			<-e.calls
		}
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		for range calls {
			// Not sent is as good: a connection that broke before it was used at
			// all has the next dial wait, and one's caller goes another way.
			if err := <-done; err != nil && !errors.Is(err, ErrNotSent) {
				t.Errorf("the repeat: %v", err)
			}
		}
		close(e.hold)
	}
}

func TestContextThatIsOverSendsNothing(t *testing.T) {
	addr, accepted := peer(t, func(context.Context, net.Conn) {})
	c := dialer(t, addr, ClientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Call(ctx, "Echo.Say", EchoArgs{}, new(EchoReply)); !errors.Is(err, ErrNotSent) || accepted.Load() != 0 {
		t.Errorf("Call = %v with %d connections, want ErrNotSent and none", err, accepted.Load())
	}
}

func TestReplyOverTheLimit(t *testing.T) {
	c := dialer(t, start(t, ServerOptions{}, newEcho()), ClientOptions{MaxReply: 4096})
	ctx := within(t, time.Minute)
	if err := c.Call(ctx, "Echo.Say", EchoArgs{Text: "x", N: 5000}, new(EchoReply)); !errors.Is(err, errTooLarge) || !errors.Is(err, ErrLost) {
		t.Errorf("Call = %v, want ErrLost for its size", err)
	}
	if err := c.Call(ctx, "Echo.Say", EchoArgs{Text: "x"}, new(EchoReply)); err != nil {
		t.Errorf("the next call = %v, want none", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	e := newEcho()
	c := NewClient(start(t, ServerOptions{}, e), ClientOptions{})
	defer close(e.hold)
	go func() {
		<-e.calls
		c.Close()
	}()
	if err := c.Call(within(t, time.Minute), "Echo.Hold", EchoArgs{}, new(EchoReply)); !errors.Is(err, ErrLost) {
		t.Errorf("Call = %v, want ErrLost", err)
	}
	c.Close()
	if err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{}, new(EchoReply)); !errors.Is(err, ErrNotSent) {
		t.Errorf("Call after Close = %v, want ErrNotSent", err)
	}
}

func TestArgsThatCannotBeEncoded(t *testing.T) {
	c := dialer(t, start(t, ServerOptions{}, newEcho()), ClientOptions{})
	err := c.Call(within(t, time.Minute), "Echo.Say", make(chan int), new(EchoReply))
	if err == nil || errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "cannot encode chan int") {
		t.Errorf("Call = %v, want that chan int cannot be encoded", err)
	}
	if err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{}, new(EchoReply)); err != nil {
		t.Errorf("the next call = %v, want none", err)
	}
}
