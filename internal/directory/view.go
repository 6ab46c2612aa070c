package directory

import (
	"maps"
	"slices"

	"gopush-cluster/internal/ketama"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// View is the cluster at one moment. It is never changed after it was
// published.
type View struct {
	Epoch int64            // orders two views of one root: the larger is newer; 0: nothing is known yet
	Root  int64            // of which Epoch counts the changes (registry.Snapshot)
	Ring  *ketama.HashRing // over Nodes
	Nodes []registry.Node  // by name

	weights  map[string]int // what Ring was made of
	places   map[string]place
	messages []member
}

// place is a node of the ring and how to reach it.
type place struct {
	node registry.Node
	link *link
}

// member is a message daemon that may be chosen.
type member struct {
	link   *link
	weight int
}

// Lookup returns the node that key lives on, false if the ring is empty.
func (v *View) Lookup(key string) (registry.Node, bool) {
	p, ok := v.at(key)
	return p.node, ok
}

func (v *View) at(key string) (place, bool) {
	name, ok := v.Ring.Node(key)
	if !ok {
		return place{}, false
	}
	return v.places[name], true
}

// read returns the view of what was read from the registry. A comet that is
// away and left no address in its node, as an old one does, keeps its last.
func (v *View) read(s registry.Snapshot, links *links) *View {
	nodes := slices.Clone(s.Comets)
	for i, n := range nodes {
		if len(n.Info().RPC) == 0 {
			nodes[i].Last = v.places[n.Name].node.Info()
		}
	}
	next := v.next(age{s.Root, s.Epoch}, nodes, links)
	for _, c := range s.Messages {
		l := links.open(message, c.Info)
		// A daemon that came back may stand beside its former child for a while.
		next.messages = slices.DeleteFunc(next.messages, func(m member) bool { return m.link == l })
		next.messages = append(next.messages, member{l, c.Info.Weight})
	}
	return next
}

// told returns the view of a ring that somebody told. A node of which no address
// is told keeps what is known of it.
func (v *View) told(args peer.MigrateArgs, links *links) *View {
	var nodes []registry.Node
	for _, name := range slices.Sorted(maps.Keys(args.Nodes)) {
		n := v.places[name].node
		n.Name, n.Weight = name, args.Nodes[name]
		if rpc := args.Addrs[name]; len(rpc) > 0 && !slices.Equal(rpc, n.Info().RPC) {
			n.Children = []registry.Child{{Info: registry.Info{RPC: rpc, Weight: n.Weight}}}
		}
		nodes = append(nodes, n)
	}
	a := v.age()
	if told := (age{args.Root, args.Epoch}); told.newer(a) {
		a = told
	}
	next := v.next(a, nodes, links)
	next.messages = v.messages
	return next
}

// next returns a view of these nodes, with no messages. It takes over the ring
// of v if that is made of the same weights.
func (v *View) next(a age, nodes []registry.Node, links *links) *View {
	next := &View{
		Epoch:   a.epoch,
		Root:    a.root,
		Ring:    v.Ring,
		Nodes:   nodes,
		weights: make(map[string]int, len(nodes)),
		places:  make(map[string]place, len(nodes)),
	}
	for _, n := range nodes {
		next.weights[n.Name] = n.Weight
		next.places[n.Name] = place{n, links.open(comet, n.Info())}
	}
	if v.Ring == nil || !maps.Equal(next.weights, v.weights) {
		next.Ring = ketama.New(next.weights, ketama.Base)
	}
	return next
}

// links calls use with every link of v.
func (v *View) links(use func(*link)) {
	for _, p := range v.places {
		use(p.link)
	}
	for _, m := range v.messages {
		use(m.link)
	}
}
