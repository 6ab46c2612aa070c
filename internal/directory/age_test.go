package directory

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

func TestAge(t *testing.T) {
	for _, tt := range []struct {
		name  string
		a, b  age
		newer bool
	}{
		{"a later epoch", age{1, 8}, age{1, 7}, true},
		{"the same", age{1, 7}, age{1, 7}, false},
		{"an earlier epoch", age{1, 6}, age{1, 7}, false},
		{"a wiped ensemble counts anew", age{2, 1}, age{1, 7}, true},
		{"who has not heard of the wipe", age{1, 7}, age{2, 1}, false},
		{"a daemon that tells no root: a later epoch", age{0, 8}, age{1, 7}, true},
		{"a daemon that tells no root: an earlier epoch", age{0, 6}, age{1, 7}, false},
		{"where nothing is known yet", age{1, 7}, age{}, true},
	} {
		if got := tt.a.newer(tt.b); got != tt.newer {
			t.Errorf("%s: %v newer than %v: %v, want %v", tt.name, tt.a, tt.b, got, tt.newer)
		}
	}
}

// made is when the roots of these tests were made, in unix ms, by the fake clock.
func made(ago time.Duration) int64 { return time.Now().Add(-ago).UnixMilli() }

// What is told of another ensemble's ring, while ZooKeeper cannot be asked.
func TestToldOfAnotherRoot(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		name       string
		own, told  time.Duration // how long ago the roots were made; below 0: no root
		epoch      int64         // told; the own is 1000
		taken, new bool          // whether Told says that it is as new here
	}{
		{"wiped just now: who tells may know but a few", hour, settling - time.Second, 5, false, false},
		{"wiped a while ago: we are not in it any more", hour, settling, 5, true, true},
		{"by a web that has not heard of the wipe", time.Minute, hour, 2000, false, true},
		{"by a daemon that tells no root", hour, -1, 2000, true, true},
		{"of the same root", hour, hour, 1001, true, true},
		{"of the same root, older", hour, hour, 999, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newFakeRegistry()
				d := New(Options{Registry: reg, Self: self{"node1", places[0]}})
				s := comets(1000, places[:2]...)
				s.Root = made(tt.own)
				d.read(s)
				reg.away.Store(true)
				args := peer.MigrateArgs{Nodes: map[string]int{"node2": 1}, Epoch: tt.epoch}
				if tt.told >= 0 {
					args.Root = made(tt.told)
				}
				if got := d.Told(args); got != tt.new {
					t.Errorf("Told = %v, want %v", got, tt.new)
				}
				_, kept := d.View().places["node1"]
				if kept == tt.taken {
					t.Errorf("the ring is %v, want it taken over: %v", d.View().weights, tt.taken)
				}
				if tt.taken {
					if again := d.Changed(); !d.Told(args) || closed(again) {
						t.Error("told again, it makes a new view")
					}
				}
				reg.away.Store(false)
				before := d.Changed()
				if args.Epoch += 5000; d.Told(args) && args.Root >= s.Root {
					t.Error("with ZooKeeper there, a ring that was not read is as new")
				}
				if closed(before) {
					t.Error("with ZooKeeper there, a ring was taken over")
				}
			})
		})
	}
}

// What a comet says that it is done with is judged by the ensemble that it
// means.
func TestDoneAcrossAWipe(t *testing.T) {
	own, other := self{"node1", places[0]}, places[1]
	at := func(s registry.Snapshot, root int64) registry.Snapshot {
		s.Root = root
		return s
	}
	moved := func(d *Directory, root, epoch int64) (key string) {
		two := comets(epoch, places[:2]...)
		d.read(at(two, root))
		key = keyOf(t, d, "node2")
		d.read(at(comets(epoch+10, places[0]), root)) // node2 goes
		return key
	}
	for _, tt := range []struct {
		name        string
		root, epoch int64 // of what is done
		open        bool  // node2 is still asked
	}{
		{"before the wipe", 1, 5000, true},
		{"after it, before the change", 2, 15, true},
		{"after the change", 2, 20, false},
		{"without a root, after the change", 0, 20, false},
	} {
		d := New(Options{Registry: newFakeRegistry(), Self: own})
		d.read(at(comets(5000, places[:2]...), 1))
		d.Done(peer.DoneArgs{Addr: other, Root: 1, Epoch: 5000}) // which was supposed of a first view
		key := moved(d, 2, 10)
		d.Done(peer.DoneArgs{Addr: other, Root: tt.root, Epoch: tt.epoch})
		if got := slices.Contains(formerAddrs(d, key), other); got != tt.open {
			t.Errorf("done %s: %s is a former owner: %v, want %v", tt.name, other, got, tt.open)
		}
	}

	// One that found the wiped ensemble first may be done before we read it; what
	// it said of the old one, however large its epoch, is not meant.
	for _, tt := range []struct {
		said peer.DoneArgs
		open bool
	}{
		{peer.DoneArgs{Addr: other, Root: 2, Epoch: 20}, false},
		{peer.DoneArgs{Addr: other, Root: 1, Epoch: 9000}, true},
	} {
		d := New(Options{Registry: newFakeRegistry(), Self: own})
		d.read(at(comets(5000, places[:2]...), 1))
		d.Done(tt.said)
		key := keyOf(t, d, "node2")
		d.read(at(comets(20, places[0]), 2))
		if got := slices.Contains(formerAddrs(d, key), other); got != tt.open {
			t.Errorf("after %+v: %s is a former owner: %v, want %v", tt.said, other, got, tt.open)
		}
	}

	// A move from before the wipe is over when the comet is done with what came
	// after it, however small the epoch; in an ensemble that was put back, too.
	for _, root := range []int64{1, 2} {
		d := New(Options{Registry: newFakeRegistry(), Self: own})
		key := moved(d, 1, 5000)
		d.read(at(comets(7, places[0]), root))
		if got := formerAddrs(d, key); !slices.Contains(got, other) {
			t.Errorf("root %d: former owners are %v, want %s, which has not said that it is done", root, got, other)
		}
		d.Done(peer.DoneArgs{Addr: other, Root: root, Epoch: 7})
		if got := formerAddrs(d, key); slices.Contains(got, other) {
			t.Errorf("root %d: former owners are %v, want none: it is done", root, got)
		}
	}
}

// The newest ring counts, of several that are told.
func TestAskAcrossAWipe(t *testing.T) {
	old, fresh := made(10*time.Hour), made(time.Hour)
	without := peer.ViewReply{Root: fresh, Epoch: 12, Nodes: map[string]int{"node2": 1}}
	with := peer.ViewReply{Root: old, Epoch: 5000, Nodes: map[string]int{"node1": 1, "node2": 1, "node3": 1}}
	for _, told := range [][2]peer.ViewReply{{without, with}, {with, without}} {
		comet, _ := serve(t, "CometRPC", &seer{told: told[0]})
		message, _ := serve(t, "MessageRPC", &seer{told: told[1]})
		reg := newFakeRegistry()
		d := New(Options{Registry: reg, Self: self{"node1", places[0]}, Timeout: patience})
		s := comets(1000, places[0], comet)
		s.Root, s.Messages = old, messages(message).Messages
		d.read(s)
		reg.away.Store(true)
		if !d.Ask(t.Context()) {
			t.Error("nobody is there")
		}
		if got := d.Tell(); got.Root != fresh || got.Epoch != 12 || len(got.Nodes) != 1 {
			t.Errorf("the ring is %+v, want that of the younger root", got)
		}
		d.links.close()
	}
}
