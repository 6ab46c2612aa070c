package rpcnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ledger counts how often each call was executed.
type Ledger struct {
	mu   sync.Mutex
	seen map[string]int
}

func (l *Ledger) Put(id string, echo *string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[id]++
	*echo = id
	return nil
}

// What an error says of a call holds on connections that are cut at any byte,
// in either direction: not sent is never executed, and done is executed once.
func TestErrorsTellTheTruthWhenConnectionsAreCut(t *testing.T) {
	const seed, callers, calls = 1, 8, 150
	t.Logf("seed %d", seed)
	ledger := &Ledger{seen: make(map[string]int)}
	s := NewServer(ServerOptions{Trust: NewTrust([]byte("s"), nil)})
	if err := s.Register("Ledger", ledger); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()

	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	addr, _ := peer(t, func(ctx context.Context, conn net.Conn) {
		mu.Lock()
		up, down := 100+random.Int64N(40_000), 100+random.Int64N(20_000)
		mu.Unlock()
		relay(ctx, conn, l.Addr().String(), up, down)
	})
	c := NewClient(addr, ClientOptions{Trust: NewTrust([]byte("s"), nil), Retry: time.Millisecond})

	results := make([]map[string]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		results[i] = make(map[string]error)
		wg.Go(func() {
			pad := strings.Repeat("x", i*200)
			for n := range calls {
				id := fmt.Sprint(i, "/", n, pad)
				var echo string
				cctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				err := c.Call(cctx, "Ledger.Put", id, &echo)
				cancel()
				if err == nil && echo != id {
					t.Errorf("call %.9s got the answer %.9s", id, echo)
				}
				results[i][id] = err
			}
		})
	}
	wg.Wait()
	c.Close()
	cancel()
	if err := <-served; err != nil { // every handler has returned
		t.Error(err)
	}

	var done, lost, notSent int
	for _, r := range results {
		for id, err := range r {
			times := ledger.seen[id]
			switch {
			case err == nil:
				done++
				if times != 1 {
					t.Errorf("call %.9s was answered and executed %d times", id, times)
				}
			case errors.Is(err, ErrNotSent) && !errors.Is(err, ErrLost):
				notSent++
				if times != 0 {
					t.Errorf("call %.9s was executed and said to be not sent: %v", id, err)
				}
			case errors.Is(err, ErrLost):
				lost++
				if times > 1 {
					t.Errorf("call %.9s was executed %d times", id, times)
				}
			default:
				t.Errorf("call %.9s = %v, want ErrLost or ErrNotSent", id, err)
			}
		}
	}
	t.Logf("%d done, %d lost, %d not sent", done, lost, notSent)
	if done == 0 || lost == 0 {
		t.Errorf("%d done and %d lost: the test cut nothing, or everything", done, lost)
	}
}

// relay carries conn to addr and cuts both ways after up bytes sent or down
// bytes answered.
func relay(ctx context.Context, conn net.Conn, addr string, up, down int64) {
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	cut := func() {
		conn.Close()
		server.Close()
	}
	defer cut()
	defer context.AfterFunc(ctx, cut)()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.CopyN(server, conn, up)
		cut()
	})
	wg.Go(func() {
		io.CopyN(conn, server, down)
		cut()
	})
	wg.Wait()
}
