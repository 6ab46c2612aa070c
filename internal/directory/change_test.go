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
			[]string{"node1: c2 took over from c1", "node1: 1 standing by, now 0"}},
		{"another address", registry.Snapshot{Epoch: 8, Comets: []registry.Node{node(3, child("c2", "a:3"))}},
			[]string{"node1: at a:2, now a:3"}},
		{"away", registry.Snapshot{Epoch: 9, Comets: []registry.Node{node(3)}},
			[]string{"node1 is away, its place is kept"}},
		{"back", registry.Snapshot{Epoch: 10, Comets: []registry.Node{node(3, child("c3", "a:3"))}},
			[]string{"node1 is back at a:3"}},
		{"gone", registry.Snapshot{Epoch: 11}, []string{"node1 is gone"}},
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
