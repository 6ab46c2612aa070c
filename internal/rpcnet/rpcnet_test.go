package rpcnet

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/rpc"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo is the service that the tests call.
type echo struct {
	calls chan string   // gets the text of each call that began
	hold  chan struct{} // Hold waits for it
}

type EchoArgs struct {
	Text string
	N    int
	Tags map[string]int
}

type EchoReply struct {
	Text string
	Tags map[string]int
}

func (e *echo) Say(args EchoArgs, reply *EchoReply) (err error) {
	defer Recover("Echo.Say", &err)
	e.began(args.Text)
	times := max(args.N, 1)
	if times > maxEcho/max(len(args.Text), 1) {
		return errors.New("too much to say") // a fuzzer asks for gigabytes
	}
	*reply = EchoReply{Text: strings.Repeat(args.Text, times), Tags: args.Tags}
	return nil
}

const maxEcho = 256 << 20 // bytes

func (e *echo) Hold(args EchoArgs, reply *EchoReply) (err error) {
	defer Recover("Echo.Hold", &err)
	e.began(args.Text)
	<-e.hold
	*reply = EchoReply{Text: args.Text}
	return nil
}

func (e *echo) Fail(args EchoArgs, _ *EchoReply) (err error) {
	defer Recover("Echo.Fail", &err)
	return errors.New("no " + args.Text)
}

func (e *echo) Panic(_ int, _ *int) (err error) {
	defer Recover("Echo.Panic", &err)
	var none []int
	_ = none[len(e.calls)] // out of range
	return nil
}

func (e *echo) began(text string) {
	select {
	case e.calls <- text:
	default:
	}
}

func newEcho() *echo {
	return &echo{calls: make(chan string, 100), hold: make(chan struct{})}
}

// start serves e until the test ends.
func start(t *testing.T, opts ServerOptions, e *echo) string {
	t.Helper()
	addr, stop := serve(t, opts, e)
	t.Cleanup(stop)
	return addr
}

// serve serves e until stop, which waits for Serve.
func serve(t testing.TB, opts ServerOptions, e *echo) (addr string, stop func()) {
	t.Helper()
	s := NewServer(opts)
	if err := s.Register("Echo", e); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	return l.Addr().String(), sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

func dialer(t *testing.T, addr string, opts ClientOptions) *Client {
	t.Helper()
	c := NewClient(addr, opts)
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestHandshake(t *testing.T) {
	secret, other := []byte("correct horse"), []byte("battery staple")
	tests := []struct {
		name   string
		server ServerOptions
		client ClientOptions
		want   error // nil, ErrNotSent, or ErrLost
	}{
		{"same secret", ServerOptions{Trust: NewTrust(secret, nil)}, ClientOptions{Trust: NewTrust(secret, nil)}, nil},
		{"another secret", ServerOptions{Trust: NewTrust(secret, nil)}, ClientOptions{Trust: NewTrust(other, nil)}, ErrNotSent},
		{"another secret on an allowed network", ServerOptions{Trust: NewTrust(secret, loopback)}, ClientOptions{Trust: NewTrust(other, loopback)}, ErrNotSent},
		{"no secrets, loopback", ServerOptions{}, ClientOptions{}, nil},
		{"caller has none", ServerOptions{Trust: NewTrust(secret, nil)}, ClientOptions{}, ErrLost},
		{"caller has none but is allowed", ServerOptions{Trust: NewTrust(secret, loopback)}, ClientOptions{}, nil},
		{"server has none", ServerOptions{}, ClientOptions{Trust: NewTrust(secret, nil)}, ErrNotSent},
		{"server has none but may be plain", ServerOptions{}, ClientOptions{Trust: NewTrust(secret, loopback)}, nil},
		{"allowed peers may still use the secret", ServerOptions{Trust: NewTrust(secret, loopback)}, ClientOptions{Trust: NewTrust(secret, loopback)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialer(t, start(t, tt.server, newEcho()), tt.client)
			var reply EchoReply
			err := c.Call(within(t, 10*time.Second), "Echo.Say", EchoArgs{Text: "hello"}, &reply)
			if tt.want == nil && (err != nil || reply.Text != "hello") {
				t.Fatalf("Call = %v, reply %+v; want no error and hello", err, reply)
			}
			// A caller without a secret sees the connection go, before or after it wrote.
			if tt.want != nil && !errors.Is(err, tt.want) && !(tt.want == ErrLost && errors.Is(err, ErrNotSent)) {
				t.Fatalf("Call = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSecretsDoNotCrossTheWire(t *testing.T) {
	secret := []byte("correct horse battery staple")
	client, server := net.Pipe()
	var wire bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- answer(tee{server, &wire}, server, secret) }()
	if err := offer(client, secret); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wire.Bytes(), secret) || wire.Len() == 0 {
		t.Errorf("the client sent %d bytes, with the secret in them: %t", wire.Len(), wire.Len() > 0)
	}
}

type tee struct {
	net.Conn
	seen *bytes.Buffer
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.seen.Write(p[:n])
	return n, err
}

// What an old daemon declares: its own structs, fewer fields.
type OldArgs struct{ Text string }
type OldReply struct{ Text string }

type oldEcho struct{}

func (oldEcho) Say(args *OldArgs, reply *OldReply) error {
	reply.Text = "old " + args.Text
	return nil
}

func TestStockClientCallsOurServer(t *testing.T) {
	old, err := rpc.Dial("tcp", start(t, ServerOptions{Trust: NewTrust([]byte("s"), loopback)}, newEcho()))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for range 3 {
		var reply OldReply
		if err := old.Call("Echo.Say", &OldArgs{"hello"}, &reply); err != nil || reply.Text != "hello" {
			t.Fatalf("Call = %v, reply %+v; want hello", err, reply)
		}
	}
	if err := old.Call("Echo.None", &OldArgs{}, nil); err == nil || !strings.Contains(err.Error(), "can't find method") {
		t.Fatalf("unknown method = %v, want can't find method", err)
	}
}

// serveStock serves an old daemon until stop.
func serveStock(t testing.TB) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	old := rpc.NewServer()
	if err := old.RegisterName("Echo", oldEcho{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { old.ServeConn(conn) })
		}
	})
	return l.Addr().String(), func() {
		l.Close()
		wg.Wait() // its clients have hung up
	}
}

func TestOurClientCallsStockServer(t *testing.T) {
	for _, opts := range []ClientOptions{{}, {Trust: NewTrust([]byte("s"), loopback)}} {
		addr, stop := serveStock(t)
		c := NewClient(addr, opts)
		var reply EchoReply
		err := c.Call(within(t, 10*time.Second), "Echo.Say", EchoArgs{Text: "hello", N: 3}, &reply)
		if err != nil || reply.Text != "old hello" {
			t.Errorf("Call = %v, reply %+v; want old hello", err, reply)
		}
		var remote rpc.ServerError
		if err := c.Call(within(t, 10*time.Second), "Echo.Save", 0, new(int)); !errors.As(err, &remote) || !strings.Contains(err.Error(), "can't find method") {
			t.Errorf("unknown method = %v, want an rpc.ServerError: can't find method", err)
		}
		c.Close()
		stop()
	}
}

func TestHandlerErrorsArriveAsServerErrors(t *testing.T) {
	c := dialer(t, start(t, ServerOptions{}, newEcho()), ClientOptions{})
	reply := EchoReply{Text: "before"}
	err := c.Call(within(t, 10*time.Second), "Echo.Fail", EchoArgs{Text: "luck"}, &reply)
	var remote rpc.ServerError
	if !errors.As(err, &remote) || string(remote) != "no luck" {
		t.Errorf("Call = %#v, want rpc.ServerError(no luck)", err)
	}
	if reply.Text != "before" {
		t.Errorf("reply = %+v, want it unchanged", reply)
	}
}

func TestPanicEndsTheCallOnly(t *testing.T) {
	c := dialer(t, start(t, ServerOptions{}, newEcho()), ClientOptions{})
	err := c.Call(within(t, 10*time.Second), "Echo.Panic", 0, new(int))
	if err == nil || err.Error() != ErrPanic.Error() {
		t.Errorf("Call = %v, want %v", err, ErrPanic)
	}
	if err := c.Call(within(t, 10*time.Second), "Echo.Say", EchoArgs{}, new(EchoReply)); err != nil {
		t.Errorf("the call after it = %v, want no error", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	c := dialer(t, start(t, ServerOptions{Trust: NewTrust([]byte("s"), nil)}, newEcho()), ClientOptions{Trust: NewTrust([]byte("s"), nil)})
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			text := strings.Repeat("x", i*100)
			for range 20 {
				var reply EchoReply
				args := EchoArgs{Text: text, N: 2, Tags: map[string]int{"i": i}}
				if err := c.Call(ctx, "Echo.Say", args, &reply); err != nil {
					t.Error(err)
				} else if reply.Text != text+text || reply.Tags["i"] != i {
					t.Errorf("reply of %d bytes and %v, want %d bytes and i=%d", len(reply.Text), reply.Tags, 2*len(text), i)
				}
			}
		})
	}
	wg.Wait()
}
