package directory

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/testenv"
)

// patience bounds every wait of these tests; it passes only when they fail.
const patience = 20 * time.Second

// fakeRegistry is a registry whose state a test sets.
type fakeRegistry struct {
	away      atomic.Bool
	refreshed atomic.Int32
	states    chan registry.Snapshot
}

func newFakeRegistry() *fakeRegistry {
	return &fakeRegistry{states: make(chan registry.Snapshot)}
}

func (f *fakeRegistry) Watch(ctx context.Context, on func(registry.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-f.states:
			on(s)
		}
	}
}

func (f *fakeRegistry) Connected() bool { return !f.away.Load() }
func (f *fakeRegistry) Refresh()        { f.refreshed.Add(1) }

// self is a comet that is found at addr.
type self struct{ node, addr string }

func (s self) Node() string               { return s.node }
func (s self) Mine(c registry.Child) bool { return len(c.Info.RPC) == 1 && c.Info.RPC[0] == s.addr }

// run runs d until the test ends.
func run(t *testing.T, d *Directory) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// fakeMessage is a message daemon that answers as a test says.
type fakeMessage struct {
	addr string
	stop func()

	mu    sync.Mutex
	saves []peer.SaveArgs
	save  func(peer.SaveArgs) error // what becomes of a save; nil: stored
	pings int
}

// MessageRPC is its RPC.
type MessageRPC struct{ f *fakeMessage }

func (m *MessageRPC) Save(args peer.SaveArgs, reply *peer.SaveReply) error {
	m.f.mu.Lock()
	m.f.saves = append(m.f.saves, args)
	save := m.f.save
	m.f.mu.Unlock()
	if save != nil {
		if err := save(args); err != nil {
			return err
		}
	}
	reply.Results = make([]peer.SaveResult, len(args.Items))
	return nil
}

func (m *MessageRPC) Shards(_ int, reply *peer.ShardsReply) error {
	*reply = peer.ShardsReply{Base: 255, Nodes: map[string]int{"shard1": 1}}
	return nil
}

func (m *MessageRPC) Read(args peer.ReadArgs, reply *peer.ReadReply) error {
	reply.Results = make([]peer.ReadResult, len(args.Items))
	return nil
}

func (m *MessageRPC) TokenAdd(peer.TokenArgs, *int) error { return nil }

func (m *MessageRPC) TokenCheck(args peer.TokenArgs, reply *peer.TokenReply) error {
	*reply = peer.TokenReply{State: peer.TokenLive, Expires: 1}
	return nil
}

func (m *MessageRPC) Pending(_ peer.PendingArgs, reply *peer.PendingReply) error {
	reply.Keys = []peer.PendingKey{{Key: "k"}}
	return nil
}

func (m *MessageRPC) Settle(peer.SettleArgs, *int) error { return nil }

func (m *MessageRPC) DelPrivate(string, *int) error { return nil }

func (m *MessageRPC) Ping(int, *int) error {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.pings++
	return nil
}

func (f *fakeMessage) saved() []peer.SaveArgs {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]peer.SaveArgs(nil), f.saves...)
}

// OldMessageRPC is the RPC of a daemon that knows no call of ours.
type OldMessageRPC struct{}

func (*OldMessageRPC) Ping(int, *int) error { return nil }

// CometRPC is the RPC of a comet that is only asked whether it is there.
type CometRPC struct{}

func (*CometRPC) Ping(int, *int) error { return nil }

// serve answers calls to service on loopback until the test ends or stop is
// called, and returns its address.
func serve(t *testing.T, name string, service any) (addr string, stop func()) {
	t.Helper()
	s := rpcnet.NewServer(rpcnet.ServerOptions{Grace: 10 * time.Millisecond})
	if err := s.Register(name, service); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func newMessage(t *testing.T) *fakeMessage {
	t.Helper()
	f := &fakeMessage{}
	f.addr, f.stop = serve(t, "MessageRPC", &MessageRPC{f})
	return f
}

// messages is a snapshot of these message daemons.
func messages(addrs ...string) registry.Snapshot {
	s := registry.Snapshot{Epoch: 1}
	for i, a := range addrs {
		s.Messages = append(s.Messages, registry.Child{
			Name: fmt.Sprintf("%010d", i), Info: registry.Info{RPC: []string{a}, Weight: 1},
		})
	}
	return s
}

// comets is a snapshot of nodes node1, node2, … with these addresses.
func comets(epoch int64, addrs ...string) registry.Snapshot {
	s := registry.Snapshot{Epoch: epoch}
	for i, a := range addrs {
		info := registry.Info{RPC: []string{a}, TCP: []string{a}, Weight: 1}
		s.Comets = append(s.Comets, registry.Node{
			Name: fmt.Sprintf("node%d", i+1), Weight: 1, Last: info,
			Children: []registry.Child{{Name: "0000000001", Info: info}},
		})
	}
	return s
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if !cond() {
			return fmt.Errorf("never: %s", what)
		}
		return nil
	})
}
