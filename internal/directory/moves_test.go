package directory

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// Addresses of the comets of these tests, by node1, node2, node3.
var places = []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}

// formerAddrs returns the former owners of key by address.
func formerAddrs(d *Directory, key string) []string {
	var addrs []string
	for _, c := range d.Former(key) {
		addrs = append(addrs, c.Addr())
	}
	return addrs
}

// keyOf returns a key that lives on node in the ring of d.
func keyOf(t *testing.T, d *Directory, node string, also ...func(key string) bool) string {
	t.Helper()
keys:
	for i := range 100_000 {
		key := fmt.Sprint("key", i)
		if n, _ := d.Lookup(key); n.Name != node {
			continue
		}
		for _, ok := range also {
			if !ok(key) {
				continue keys
			}
		}
		return key
	}
	t.Fatal("no such key")
	return ""
}

func TestFormerOwnersUntilTheyAreDone(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node3", places[2]}})
	d.read(comets(10, places[:2]...)) // not there yet
	of1 := func(key string) bool { n, _ := d.Lookup(key); return n.Name == "node1" }
	before := make(map[string]bool)
	for i := range 1000 {
		if key := fmt.Sprint("key", i); of1(key) {
			before[key] = true
		}
	}
	d.read(comets(20, places...))
	moved := keyOf(t, d, "node3", func(key string) bool { return before[key] })
	if got := formerAddrs(d, moved); !slices.Equal(got, places[:1]) {
		t.Fatalf("former owners of a key that moved = %v, want %v", got, places[:1])
	}
	if got := d.Others(); len(got) != 2 {
		t.Errorf("%d others, want 2", len(got))
	}
	d.Done(peer.DoneArgs{Addr: places[0], Epoch: 19}) // with an older ring
	d.Done(peer.DoneArgs{Addr: places[1], Epoch: 20}) // somebody else
	if got := formerAddrs(d, moved); !slices.Equal(got, places[:1]) {
		t.Errorf("former owners = %v, want %v still", got, places[:1])
	}
	d.Done(peer.DoneArgs{Addr: places[0], Epoch: 20})
	if got := formerAddrs(d, moved); got != nil {
		t.Errorf("former owners = %v, want none", got)
	}
}

func TestFormerOwnersOfTwoChanges(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[0]}})
	d.read(comets(10, places...))
	keys := map[string]string{} // node → a key of it
	for _, node := range []string{"node2", "node3"} {
		keys[node] = keyOf(t, d, node)
	}
	d.read(comets(20, places[0], places[1])) // node3 goes
	d.read(comets(30, places[0]))            // and node2
	for node, want := range map[string]string{"node2": places[1], "node3": places[2]} {
		if got := formerAddrs(d, keys[node]); !slices.Contains(got, want) {
			t.Errorf("former owners of a key of %s = %v, want %s among them", node, got, want)
		}
	}
	gone := d.Former(keys["node3"])
	for _, c := range gone {
		d.Gone(c)
	}
	if got := d.Former(keys["node3"]); got != nil {
		t.Errorf("former owners that cannot be reached = %v", got)
	}
}

func TestFormerOwnerUnderTheSameNode(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[1]}})
	d.read(comets(10, places[0])) // another comet is active
	if got := d.Others(); len(got) != 1 {
		t.Errorf("a standby has %d others, want the active one", len(got))
	}
	d.read(comets(20, places[1])) // we take over
	if got := formerAddrs(d, "k"); !slices.Equal(got, places[:1]) {
		t.Errorf("former owners = %v, want the comet that was active", got)
	}
}

func TestFirstViewSupposesTheRingWithoutUs(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[0]}})
	d.read(comets(10, places[:2]...))
	key := keyOf(t, d, "node1")
	if got := formerAddrs(d, key); !slices.Equal(got, places[1:2]) {
		t.Errorf("former owners = %v, want %v", got, places[1:2])
	}
	alone := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[0]}})
	alone.read(comets(10, places[0]))
	if got := alone.Former("k"); got != nil {
		t.Errorf("alone: former owners = %v", got)
	}
}

func TestNothingMovesWhereTheRingStays(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[0]}})
	d.read(comets(10, places[:2]...))
	d.Done(peer.DoneArgs{Addr: places[1], Epoch: 10})
	away := comets(20, places[:2]...) // a session has expired; the place stays
	away.Comets[1].Last = away.Comets[1].Children[0].Info
	away.Comets[1].Children = nil
	d.read(away)
	d.read(comets(30, places[:2]...))
	if all := d.moves.open.Load(); all != nil && len(*all) != 0 {
		t.Errorf("%d replaced views are remembered, want none", len(*all))
	}
	web := New(Options{Registry: newFakeRegistry()})
	web.read(comets(10, places[:2]...))
	web.read(comets(20, places...))
	if web.moves.open.Load() != nil {
		t.Error("a web remembers former owners")
	}
}

func TestFormerOwnersAreForgottenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", places[0]}})
		d.read(comets(10, places...))
		of3 := keyOf(t, d, "node3")
		d.read(comets(20, places[:2]...))
		if got := formerAddrs(d, of3); len(got) != 1 && d.Owns(of3) == nil {
			t.Errorf("former owners = %v, want the comet that is gone", got)
		}
		time.Sleep(formerTime)
		if got := formerAddrs(d, of3); got != nil {
			t.Errorf("former owners = %v after ten minutes, want none", got)
		}
		weights := comets(30, places[:2]...)
		weights.Comets[0] = registry.Node{Name: "node1", Weight: 2, Children: weights.Comets[0].Children}
		d.read(weights)
		if all := *d.moves.open.Load(); len(all) != 1 || all[0].age.epoch != 30 {
			t.Errorf("%d replaced views are remembered, want the newest only", len(all))
		}
	})
}

// A comet without sessions of the keys that move says so the moment it has read
// the ring, which may be before the new owner has.
func TestFormerOwnerThatWasDoneFirst(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node3", places[2]}})
	d.read(comets(10, places[:2]...))
	d.Done(peer.DoneArgs{Addr: places[0], Epoch: 20})
	d.Done(peer.DoneArgs{Addr: places[1], Epoch: 19})
	d.read(comets(20, places...))
	if all := *d.moves.open.Load(); len(all) != 1 || len(all[0].open) != 1 || all[0].open[0].addr != places[1] {
		t.Errorf("open = %+v, want node2 alone, which was done with an older ring", all)
	}
	d.Done(peer.DoneArgs{Addr: places[0], Epoch: 1000})
	d.read(comets(5, places[:1]...)) // a wiped ZooKeeper
	d.read(comets(6, places[:2]...))
	if all := *d.moves.open.Load(); len(all) != 3 || len(all[1].open) != 2 || len(all[2].open) != 1 {
		t.Errorf("open = %+v, want everybody: epochs have begun anew", all)
	}
	d.Done(peer.DoneArgs{Addr: places[0], Epoch: 6})
	d.registry.(*fakeRegistry).away.Store(true)
	d.Told(peer.MigrateArgs{Nodes: map[string]int{"node2": 1}}) // by an old web, without an epoch
	if all := *d.moves.open.Load(); len(all) != 3 || len(all[2].open) != 2 {
		t.Errorf("open = %+v, want both: what was said is of the ring before", all)
	}
	restarted := New(Options{Registry: newFakeRegistry(), Self: self{"node3", places[2]}})
	restarted.Done(peer.DoneArgs{Addr: places[0], Epoch: 20})
	restarted.Done(peer.DoneArgs{Addr: places[1], Epoch: 20})
	restarted.read(comets(20, places...))
	if all := *restarted.moves.open.Load(); len(all) != 0 {
		t.Errorf("open = %+v, want none: all were done before the first look", all)
	}
}

func TestWordOfDoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Registry: newFakeRegistry(), Self: self{"node3", places[2]}})
		d.Done(peer.DoneArgs{Addr: places[0], Epoch: 20})
		time.Sleep(formerTime)
		d.Done(peer.DoneArgs{Addr: places[1], Epoch: 20})
		if n := len(d.moves.said); n != 1 {
			t.Errorf("what %d comets said is remembered, want the newest only", n)
		}
	})
}
