package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// fakeCluster is one comet a node, without a network: it is web's Directory,
// and its comets are called through the real peer.Comet.
type fakeCluster struct {
	place func(key string) string // key → node; nil: all keys are node1's
	nodes map[string]registry.Node
	ready error
	read  chan struct{} // closed when the ring has been read; nil: long ago
	comet *fakeComet    // serves every node
}

var errUnread = errors.New("fake: not read yet")

func (f *fakeCluster) Await(ctx context.Context) error {
	if f.read == nil {
		return nil
	}
	select {
	case <-f.read:
		return nil
	case <-ctx.Done():
		return errUnread
	}
}

func (f *fakeCluster) Lookup(key string) (registry.Node, bool) {
	name := "node1"
	if f.place != nil {
		name = f.place(key)
	}
	if f.read != nil {
		select {
		case <-f.read:
		default:
			return registry.Node{}, false
		}
	}
	n, ok := f.nodes[name]
	return n, ok
}

func (f *fakeCluster) Comet(key string) (*peer.Comet, error) {
	n, ok := f.Lookup(key)
	if !ok {
		return nil, errors.New("fake: no comet")
	}
	return peer.NewComet(cometAt{f.comet, n.Name}), nil
}

func (f *fakeCluster) Node(name string) (*peer.Comet, bool) {
	_, ok := f.nodes[name]
	return peer.NewComet(cometAt{f.comet, name}), ok
}

func (f *fakeCluster) Ready() error { return f.ready }

func (f *fakeCluster) Snapshot() registry.Snapshot {
	return registry.Snapshot{Epoch: 7, Comets: slices.SortedFunc(maps.Values(f.nodes), byNodeName)}
}

func (f *fakeCluster) Shares() map[string]float64 { return map[string]float64{"node1": 1} }

func (f *fakeCluster) Pinged(node string) (bool, time.Time) { return node == "node1", time.Time{} }

func (f *fakeCluster) Changed() <-chan struct{} { return nil }

// fakeComet answers for all comets. A nil func answers OK.
type fakeComet struct {
	push func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error)
	add  func(ctx context.Context, args peer.NewArgs) error
	sync func(node string, keys []peer.PendingKey) ([]peer.Code, error)
	down error // of what operators ask

	mu      sync.Mutex
	asked   []string    // "node weight=3", "node drain"
	pushes  []peer.Push // as they came
	budgets []int64     // of each push
	tokens  []peer.NewArgs
}

// cometAt is the fake comet as one node.
type cometAt struct {
	*fakeComet
	node string
}

func (c cometAt) Addr() string { return c.node + ":6970" }

func (c cometAt) Call(ctx context.Context, method string, args, reply any) error {
	switch method {
	case "CometRPC.Push":
		a := args.(*peer.PushArgs)
		if len(a.Pushes) != 1 {
			return fmt.Errorf("fake: %d pushes in a call", len(a.Pushes))
		}
		p := a.Pushes[0]
		c.mu.Lock()
		c.pushes = append(c.pushes, p)
		c.budgets = append(c.budgets, a.Budget)
		c.mu.Unlock()
		if c.push == nil {
			reply.(*peer.PushReply).Results = make([]peer.PushResult, len(p.Keys))
			return nil
		}
		results, err := c.push(ctx, c.node, p)
		reply.(*peer.PushReply).Results = results
		return err
	case "CometRPC.New":
		a := *args.(*peer.NewArgs)
		c.mu.Lock()
		c.tokens = append(c.tokens, a)
		c.mu.Unlock()
		if c.add == nil {
			return nil
		}
		return c.add(ctx, a)
	case "CometRPC.Sync":
		a := args.(*peer.SyncArgs)
		if c.sync == nil {
			reply.(*peer.SyncReply).Codes = make([]peer.Code, len(a.Keys))
			return nil
		}
		codes, err := c.sync(c.node, a.Keys)
		reply.(*peer.SyncReply).Codes = codes
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch method {
	case "CometRPC.Weight":
		c.asked = append(c.asked, fmt.Sprintf("%s weight=%d", c.node, args.(*peer.WeightArgs).Weight))
		return c.down
	case "CometRPC.Drain":
		c.asked = append(c.asked, c.node+" drain")
		return c.down
	}
	return fmt.Errorf("fake: no method %s", method)
}

// fakeMessages is the message daemons. A nil func answers OK.
type fakeMessages struct {
	save  func(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error)
	read  func(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error)
	check func(args peer.TokenArgs) (peer.TokenReply, error)
	add   func(args peer.TokenArgs) error
	del   func(key string) error

	pending []peer.PendingKey // guarded by mu

	mu      sync.Mutex
	saves   []peer.SaveArgs
	reads   []peer.ReadArgs
	tokens  []peer.TokenArgs
	checks  []peer.TokenArgs
	deleted []string
}

func record[T any](f *fakeMessages, to *[]T, v T) {
	f.mu.Lock()
	*to = append(*to, v)
	f.mu.Unlock()
}

func (f *fakeMessages) Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error) {
	record(f, &f.saves, args)
	if f.save == nil {
		return peer.SaveReply{Results: make([]peer.SaveResult, len(args.Items))}, nil
	}
	return f.save(ctx, args)
}

func (f *fakeMessages) Read(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error) {
	record(f, &f.reads, args)
	if f.read == nil {
		return peer.ReadReply{Results: make([]peer.ReadResult, len(args.Items))}, nil
	}
	return f.read(ctx, args)
}

func (f *fakeMessages) TokenAdd(_ context.Context, args peer.TokenArgs) error {
	record(f, &f.tokens, args)
	if f.add == nil {
		return nil
	}
	return f.add(args)
}

func (f *fakeMessages) TokenCheck(_ context.Context, args peer.TokenArgs) (peer.TokenReply, error) {
	record(f, &f.checks, args)
	if f.check == nil {
		return peer.TokenReply{}, nil
	}
	return f.check(args)
}

func (f *fakeMessages) Delete(_ context.Context, key string) error {
	record(f, &f.deleted, key)
	if f.del == nil {
		return nil
	}
	return f.del(key)
}

func (f *fakeMessages) Pending(_ context.Context, limit int) ([]peer.PendingKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.pending[:min(limit, len(f.pending))]), nil
}

func (f *fakeMessages) Settle(_ context.Context, keys []peer.PendingKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = slices.DeleteFunc(f.pending, func(k peer.PendingKey) bool { return slices.Contains(keys, k) })
	return nil
}

// at is the clock of the tests: a second that has begun long ago.
var at = time.Unix(1_764_000_000, 999_000_000)

// fixture is a server with fakes around it.
type fixture struct {
	*Server
	cluster  *fakeCluster
	messages *fakeMessages
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.HTTP.Bind = []string{"127.0.0.1:0"}
	cfg.Admin.Bind = []string{"127.0.0.1:0"}
	return cfg
}

// newFixture returns a server that is bound and not running. Its one node has
// an address of each protocol.
func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{
		cluster: &fakeCluster{
			nodes: map[string]registry.Node{"node1": {Name: "node1", Weight: 1, Children: []registry.Child{{
				Name: "0000000001",
				Info: registry.Info{RPC: []string{"node1:6970"}, TCP: []string{"127.0.0.1:6969"}, WS: []string{"127.0.0.1:6968"}},
			}}}},
			comet: &fakeComet{},
		},
		messages: &fakeMessages{},
	}
	s, err := New(cfg, Deps{
		Directory: f.cluster,
		Messages:  f.messages,
		Now:       func() time.Time { return at },
		Random:    bytes.NewReader(bytes.Repeat([]byte{0xab}, 1<<16)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	return f
}

// run serves until the test ends.
func (f *fixture) run(t testing.TB) *fixture {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

// close closes the listeners of a server that is never run.
func (f *fixture) close() {
	for _, p := range f.ports {
		p.listener.Close()
	}
}

// fromHere returns a request of this machine's.
func fromHere(method, url, body string) *http.Request {
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
	return r
}
