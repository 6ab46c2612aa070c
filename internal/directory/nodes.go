package directory

import (
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// NodeState is a place in the ring and who holds it, for operators.
type NodeState struct {
	Name     string
	Weight   int
	Share    float64       // part of all keys, 0..1
	Info     registry.Info // where it can be reached
	Active   string        // name of the active child; empty while the comet is away
	Standbys int
	Alive    bool      // it answered the last ping; false on a comet, which pings no others
	Seen     time.Time // when it last did; zero: never
}

// Node returns the comet of the node of that name, as Comet does; false if the
// ring has no such node.
func (d *Directory) Node(name string) (*peer.Comet, bool) {
	p, ok := d.View().places[name]
	if !ok {
		return nil, false
	}
	return p.link.comet, true
}

// Nodes returns the nodes of the ring, by name, and the ring's epoch.
func (d *Directory) Nodes() ([]NodeState, int64) {
	v := d.View()
	share := v.Ring.Share()
	states := make([]NodeState, 0, len(v.Nodes))
	for _, n := range v.Nodes {
		l := v.places[n.Name].link
		s := NodeState{
			Name:   n.Name,
			Weight: n.Weight,
			Share:  share[n.Name],
			Info:   n.Info(),
			Alive:  l.state.Load() == alive,
		}
		if c, ok := n.Active(); ok {
			s.Active, s.Standbys = c.Name, len(n.Children)-1
		}
		if at := l.seen.Load(); at != 0 {
			s.Seen = time.Unix(0, at)
		}
		states = append(states, s)
	}
	return states, v.Epoch
}
