package registry

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Info is what a daemon tells the others about itself: the data of its
// ephemeral znode (docs/protocol.md, "ZooKeeper").
type Info struct {
	RPC    []string `json:"rpc"`           // host:port of net/rpc
	TCP    []string `json:"tcp,omitempty"` // host:port for TCP clients; comet only
	WS     []string `json:"ws,omitempty"`  // host:port for WebSocket clients; comet only
	Weight int      `json:"weight"`
}

// Addr names the daemon by where it can be called: its RPC addresses,
// comma-separated. "" is nowhere.
func (i Info) Addr() string { return strings.Join(i.RPC, ",") }

// Child is one registered daemon: an ephemeral, sequential znode.
type Child struct {
	Name    string // the znode's own name, unique and rising under its parent
	Info    Info
	Version int64 // of this very state: the transaction that last changed the znode
}

// Node is one place in the ring.
type Node struct {
	Name     string
	Weight   int       // what the ring uses: the active child's; else Last's; else the weight last seen; else 1
	Last     Info      // the node's own data: what its active child last wrote there; zero if it holds none
	Keep     time.Time // its comet restarts in place, and nobody else may remove the node before; zero: it does not
	Version  int64     // of the node's own data: the transaction that last changed it
	Children []Child   // by rising sequence: the first is active, the others are hot standbys; empty while the comet is away
}

// Active returns the daemon that serves n, if one is registered.
func (n Node) Active() (Child, bool) {
	if len(n.Children) == 0 {
		return Child{}, false
	}
	return n.Children[0], true
}

// Info returns where n can be reached: its active child's addresses, or, while
// it has none, the last that were known, for a comet that restarts in place
// comes back there.
func (n Node) Info() Info {
	if c, ok := n.Active(); ok {
		return c.Info
	}
	return n.Last
}

// Snapshot is one consistent view of the cluster. It is never changed after it
// was published.
type Snapshot struct {
	// Epoch orders two views of one ensemble: the larger is newer. It is 0
	// before anything was read.
	Epoch int64
	// Root is when the root that the comets register under was made, in unix ms
	// by ZooKeeper's clock. An ensemble that lost its data counts its epochs
	// anew: those of a younger root are newer, however small. 0: not known.
	Root     int64
	Comets   []Node  // by name
	Messages []Child // by rising sequence
}

// Weights returns node → weight for the ring: every node that exists, whether
// a comet is registered there or not.
func (s Snapshot) Weights() map[string]int {
	w := make(map[string]int, len(s.Comets))
	for _, n := range s.Comets {
		w[n.Name] = n.Weight
	}
	return w
}

// Addrs returns node → where the RPC of its comet is, as far as that is known.
func (s Snapshot) Addrs() map[string][]string {
	a := make(map[string][]string, len(s.Comets))
	for _, n := range s.Comets {
		if rpc := n.Info().RPC; len(rpc) > 0 {
			a[n.Name] = rpc
		}
	}
	return a
}

// Node returns the node of that name.
func (s Snapshot) Node(name string) (Node, bool) {
	i, ok := slices.BinarySearchFunc(s.Comets, name, func(n Node, name string) int {
		return cmp.Compare(n.Name, name)
	})
	if !ok {
		return Node{}, false
	}
	return s.Comets[i], true
}
