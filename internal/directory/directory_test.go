package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/testenv"
)

// child is a registered comet at addr.
func child(name, addr string) registry.Child {
	return registry.Child{Name: name, Info: registry.Info{RPC: []string{addr}, Weight: 1}}
}

func TestOwns(t *testing.T) {
	const mine, other = "127.0.0.1:1", "127.0.0.1:2"
	at := func(addr string) registry.Info { return registry.Info{RPC: []string{addr}} }
	for _, c := range []struct {
		name string
		self Self
		node registry.Node
		owns bool
	}{
		{"own child is the only one", self{"node1", mine}, registry.Node{Children: []registry.Child{child("1", mine)}}, true},
		{"own child is active, another waits", self{"node1", mine}, registry.Node{Children: []registry.Child{child("1", mine), child("2", other)}}, true},
		{"own child is a standby", self{"node1", mine}, registry.Node{Last: at(other), Children: []registry.Child{child("1", other), child("2", mine)}}, false},
		{"a standby, though it was active before", self{"node1", mine}, registry.Node{Last: at(mine), Children: []registry.Child{child("1", other), child("2", mine)}}, false},
		{"own session has expired and nobody took over", self{"node1", mine}, registry.Node{Last: at(mine)}, true},
		{"the active one's session has expired", self{"node1", mine}, registry.Node{Last: at(other)}, false},
		{"nobody was ever there", self{"node1", mine}, registry.Node{}, false},
		{"another node", self{"node2", mine}, registry.Node{Children: []registry.Child{child("1", mine)}}, false},
		{"no comet at all", nil, registry.Node{Children: []registry.Child{child("1", mine)}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Options{Registry: newFakeRegistry(), Self: c.self})
			if err := d.Owns("k"); !errors.Is(err, peer.ErrNotMine) {
				t.Errorf("with an empty ring: Owns = %v, want ErrNotMine", err)
			}
			c.node.Name, c.node.Weight = "node1", 1
			d.read(registry.Snapshot{Epoch: 1, Comets: []registry.Node{c.node}})
			err := d.Owns("k")
			if c.owns && err != nil || !c.owns && !errors.Is(err, peer.ErrNotMine) {
				t.Errorf("Owns = %v, want owned: %v", err, c.owns)
			}
		})
	}
}

func TestLookupAndComet(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry()})
	if _, ok := d.Lookup("k"); ok {
		t.Error("a node in an empty ring")
	}
	if n := d.Shares(); len(n) != 0 {
		t.Errorf("shares of an empty ring = %v", n)
	}
	if _, err := d.Comet("k"); !errors.Is(err, ErrNoComet) {
		t.Errorf("Comet = %v, want ErrNoComet", err)
	}
	addrs := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	d.read(comets(1, addrs...))
	found := make(map[string]int)
	for i := range 300 {
		key := fmt.Sprintf("key%d", i)
		n, ok := d.Lookup(key)
		c, err := d.Comet(key)
		if !ok || err != nil || c.Addr() != n.Info().RPC[0] {
			t.Fatalf("%s: node %v, %v; comet %v, %v", key, n, ok, c, err)
		}
		found[c.Addr()]++
	}
	if len(found) != len(addrs) {
		t.Errorf("keys lie on %v, want some on each of %v", found, addrs)
	}
}

func TestCometThatIsAwayKeepsItsAddress(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry()})
	never := registry.Node{Name: "node1", Weight: 1}
	d.read(registry.Snapshot{Epoch: 1, Comets: []registry.Node{never}})
	c, err := d.Comet("k")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, rpcnet.ErrNotSent) {
		t.Errorf("call to a comet without address = %v, want ErrNotSent", err)
	}
	there := never
	there.Children = []registry.Child{child("1", "127.0.0.1:1")} // an old comet: it writes nothing into its node
	for i, n := range []registry.Node{there, never, never} {
		d.read(registry.Snapshot{Epoch: int64(2 + i), Comets: []registry.Node{n}})
		c, err := d.Comet("k")
		if err != nil || c.Addr() != "127.0.0.1:1" {
			t.Fatalf("step %d: comet at %q, %v; want 127.0.0.1:1", i, c.Addr(), err)
		}
		if n, _ := d.Lookup("k"); len(n.Info().RPC) != 1 {
			t.Errorf("step %d: Lookup names no address: %+v", i, n)
		}
	}
}

func TestRingIsKeptWhileWeightsAre(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry()})
	d.read(comets(1, "127.0.0.1:1", "127.0.0.1:2"))
	before, changed := d.View(), d.Changed()
	d.read(comets(1, "127.0.0.1:1", "127.0.0.1:2"))
	if d.View() != before || closed(changed) {
		t.Error("an equal state made a new view")
	}
	d.read(comets(2, "127.0.0.1:1", "127.0.0.1:9"))
	if d.View() == before || d.View().Ring != before.Ring || !closed(changed) {
		t.Error("a new address wants a new view with the same ring, and tells it")
	}
	if d.View().Epoch != 2 {
		t.Errorf("epoch = %d, want 2", d.View().Epoch)
	}
	d.read(comets(1, "127.0.0.1:1")) // a wiped ZooKeeper: the epoch falls
	if d.View().Ring == before.Ring || d.View().Epoch != 1 {
		t.Error("what is read always wins, whatever its epoch")
	}
}

func TestTold(t *testing.T) {
	two := map[string]int{"node1": 1, "node3": 2}
	for _, c := range []struct {
		name  string
		away  bool
		args  peer.MigrateArgs
		taken bool
		epoch int64
	}{
		{"ZooKeeper is there", false, peer.MigrateArgs{Nodes: two, Epoch: 99}, false, 10},
		{"ZooKeeper is there, an old web", false, peer.MigrateArgs{Nodes: two}, false, 10},
		{"away, newer", true, peer.MigrateArgs{Nodes: two, Epoch: 11}, true, 11},
		{"away, the same", true, peer.MigrateArgs{Nodes: two, Epoch: 10}, false, 10},
		{"away, older", true, peer.MigrateArgs{Nodes: two, Epoch: 9}, false, 10},
		{"away, an old web", true, peer.MigrateArgs{Nodes: two}, true, 10},
		{"away, no nodes", true, peer.MigrateArgs{Epoch: 11}, false, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := newFakeRegistry()
			d := New(Options{Registry: reg, Self: self{"node1", "127.0.0.1:1"}})
			read := comets(10, "127.0.0.1:1", "127.0.0.1:2")
			read.Messages = messages("127.0.0.1:5").Messages
			d.read(read)
			reg.away.Store(c.away)
			changed := d.Changed()
			d.Told(c.args)
			if reg.refreshed.Load() == 0 {
				t.Error("the registry was not asked to look again")
			}
			want := read.Weights()
			if c.taken {
				want = two
				again := d.Changed()
				if d.Told(c.args); closed(again) {
					t.Error("told again, the same ring makes a new view")
				}
			}
			v := d.View()
			if !maps.Equal(v.weights, want) || v.Epoch != c.epoch || closed(changed) != c.taken {
				t.Errorf("ring = %v of epoch %d, want %v of %d", v.weights, v.Epoch, want, c.epoch)
			}
			if len(v.messages) != 1 {
				t.Error("the message daemons are forgotten")
			}
			if rpc := v.places["node1"].node.Info().RPC; len(rpc) != 1 || rpc[0] != "127.0.0.1:1" {
				t.Errorf("node1 is at %v, want its address kept", rpc)
			}
			reg.away.Store(false)
			d.read(read) // as it was all the time
			if got := d.View().weights; !maps.Equal(got, read.Weights()) {
				t.Errorf("ring after ZooKeeper came back = %v, want what it says: %v", got, read.Weights())
			}
		})
	}
}

func TestPinged(t *testing.T) {
	addr, stop := serve(t, "CometRPC", &CometRPC{})
	reg := newFakeRegistry()
	d := New(Options{Registry: reg, Ping: 20 * time.Millisecond})
	run(t, d)
	s := comets(1, addr, testenv.FreeAddr(t))
	s.Comets[1].Children = nil
	reg.states <- s
	until(t, "node1 answers", func() bool { alive, seen := d.Pinged("node1"); return alive && !seen.IsZero() })
	for _, name := range []string{"node2", "no node"} {
		if alive, seen := d.Pinged(name); alive || !seen.IsZero() {
			t.Errorf("%s = %t, %v; want a comet that never answered", name, alive, seen)
		}
	}
	shares := d.Shares()
	if sum := shares["node1"] + shares["node2"]; len(shares) != 2 || sum < 0.999 || sum > 1.001 {
		t.Errorf("shares = %v, want two that are 1 together", shares)
	}
	stop()
	until(t, "node1 no longer answers", func() bool { alive, _ := d.Pinged("node1"); return !alive })
	if _, seen := d.Pinged("node1"); seen.IsZero() {
		t.Error("forgot when node1 was seen")
	}
}

func TestReady(t *testing.T) {
	reg := newFakeRegistry()
	d := New(Options{Registry: reg, Ping: 20 * time.Millisecond})
	run(t, d)
	if d.Ready() == nil {
		t.Error("ready before the registry was read")
	}
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Await(late); !errors.Is(err, ErrUnread) {
		t.Errorf("Await before the registry was read = %v, want ErrUnread", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- d.Await(t.Context()) }()
	m := newMessage(t)
	reg.states <- messages(testenv.FreeAddr(t))
	if d.Ready() == nil {
		t.Error("ready without a message daemon that answers")
	}
	if err := <-waited; err != nil {
		t.Errorf("Await = %v, want nil: the registry was read", err)
	}
	reg.states <- messages(m.addr)
	until(t, "ready", func() bool { return d.Ready() == nil })
	reg.away.Store(true)
	if err := d.Ready(); err != nil {
		t.Errorf("Ready while ZooKeeper is away = %v, want nil: the last view stays in force", err)
	}
}

// Two comets under one node and one under another, over the real registry in
// memory: the standby owns nothing until it takes over.
func TestTakeover(t *testing.T) {
	reg := registry.NewMemory()
	join := func(node, addr string) (*registry.Membership, *Directory) {
		m := reg.JoinComet(node, registry.Info{RPC: []string{addr}, Weight: 1})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
		until(t, "registered", func() bool { return m.Name() != "" })
		d := New(Options{Registry: reg, Self: m})
		run(t, d)
		return m, d
	}
	active, first := join("node1", "127.0.0.1:1")
	_, standby := join("node1", "127.0.0.1:2")
	_, other := join("node2", "127.0.0.1:3")
	all := map[string]*Directory{"active": first, "standby": standby, "other": other}
	owners := func() map[string]int {
		count := make(map[string]int)
		for i := range 100 {
			for name, d := range all {
				if d.Owns(fmt.Sprintf("key%d", i)) == nil {
					count[name]++
				}
			}
		}
		return count
	}
	until(t, "active and other own the keys", func() bool {
		c := owners()
		return c["active"] > 0 && c["other"] > 0 && c["active"]+c["other"] == 100 && c["standby"] == 0
	})
	share := owners()["active"]
	if err := active.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the standby owns what the active one did", func() bool {
		c := owners()
		return c["standby"] == share && c["active"] == 0 && c["other"] == 100-share
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func BenchmarkOwns(b *testing.B) {
	reg := registry.NewMemory()
	info := registry.Info{RPC: []string{"127.0.0.1:1"}, Weight: 1}
	d := New(Options{Registry: reg, Self: reg.JoinComet("node1", info)})
	d.read(comets(1, "127.0.0.1:1"))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Owns("key1"); err != nil {
			b.Fatal(err)
		}
	}
}
