package directory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/registry"
)

// Each change has a line of its own in the log; none is said that was not made.
func TestChangesInWords(t *testing.T) {
	info := func(addr string, weight int) registry.Info {
		return registry.Info{RPC: []string{addr}, Weight: weight}
	}
	node := func(weight int, children ...registry.Child) registry.Node {
		return registry.Node{Name: "node1", Weight: weight, Children: children, Last: info("a:1", weight)}
	}
	message := func(addr string, weight int) registry.Child {
		return registry.Child{Name: "m" + addr, Info: info(addr, weight)}
	}
	steps := []struct {
		name string
		to   registry.Snapshot
		want []string
	}{
		{"nobody", registry.Snapshot{Epoch: 1}, []string{"nobody is registered"}},
		{"the first", registry.Snapshot{Epoch: 2, Comets: []registry.Node{node(1, child("c1", "a:1"))}, Messages: []registry.Child{message("m:1", 1)}},
			[]string{"node1 is new: weight 1 at a:1", "message m:1 is new: weight 1"}},
		{"an epoch alone", registry.Snapshot{Epoch: 3, Comets: []registry.Node{node(1, child("c1", "a:1"))}, Messages: []registry.Child{message("m:1", 1)}}, nil},
		{"a weight and a message", registry.Snapshot{Epoch: 4, Comets: []registry.Node{node(3, child("c1", "a:1"))}, Messages: []registry.Child{message("m:1", 1), message("m:2", 2)}},
			[]string{"node1: weight 1, now 3", "message m:2 is new: weight 2"}},
		{"the weight of a message", registry.Snapshot{Epoch: 5, Comets: []registry.Node{node(3, child("c1", "a:1"))}, Messages: []registry.Child{message("m:1", 1), message("m:2", 5)}},
			[]string{"message m:2: weight 2, now 5"}},
		{"a standby", registry.Snapshot{Epoch: 6, Comets: []registry.Node{node(3, child("c1", "a:1"), child("c2", "a:2"))}},
			[]string{"node1: 0 standing by, now 1", "message m:1 is gone", "message m:2 is gone"}},
		{"it takes over", registry.Snapshot{Epoch: 7, Comets: []registry.Node{node(3, child("c2", "a:2"))}},
			[]string{"node1: c2 at a:2 took over from c1", "node1: 1 standing by, now 0"}},
		{"another address", registry.Snapshot{Epoch: 8, Comets: []registry.Node{node(3, child("c2", "a:3"))}},
			[]string{"node1: at a:2, now a:3"}},
		{"away", registry.Snapshot{Epoch: 9, Comets: []registry.Node{node(3)}},
			[]string{"node1 is away, its place is kept"}},
		{"back", registry.Snapshot{Epoch: 10, Comets: []registry.Node{node(3, child("c3", "a:3"))}},
			[]string{"node1 is back at a:3"}},
		{"gone", registry.Snapshot{Epoch: 11}, []string{"node1 is gone"}},
		{"a znode alone", registry.Snapshot{Epoch: 12, Comets: []registry.Node{{Name: "node2", Weight: 1}}},
			[]string{"node2 is new: weight 1, nobody is there yet"}},
	}
	d := New(Options{Registry: newFakeRegistry()})
	for _, s := range steps {
		before := d.View()
		d.read(s.to)
		if diff := cmp.Diff(s.want, before.changes(d.View())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
}

// A comet's log says when it begins to serve, to stand by, or loses its place.
func TestRoleInWords(t *testing.T) {
	const mine, other = "me:1", "else:1"
	d := New(Options{Registry: newFakeRegistry(), Self: self{"node1", mine}})
	for i, step := range []struct {
		name  string
		nodes []registry.Node
		want  string
	}{
		{"before it is registered", nil, "this comet has no place in the ring"},
		{"another is there", []registry.Node{{Name: "node1", Weight: 1, Children: []registry.Child{child("1", other), child("2", mine)}}}, "this comet stands by for node1"},
		{"the other is gone", []registry.Node{{Name: "node1", Weight: 1, Children: []registry.Child{child("2", mine)}}}, "this comet serves node1"},
		{"session over, the place is kept", []registry.Node{{Name: "node1", Weight: 1, Last: registry.Info{RPC: []string{mine}}}}, "this comet serves node1"},
		{"taken out", []registry.Node{{Name: "node2", Weight: 1, Children: []registry.Child{child("1", other)}}}, "this comet has no place in the ring"},
	} {
		d.read(registry.Snapshot{Epoch: int64(i + 1), Comets: step.nodes})
		if got := d.role(d.View()); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	if got := New(Options{Registry: newFakeRegistry()}).role(d.View()); got != "" {
		t.Errorf("a web's role is %q, want none", got)
	}
}
