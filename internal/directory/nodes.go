package directory

import (
	"time"

	"gopush-cluster/internal/peer"
)

// Node returns the comet of the node of that name, as Comet does; false if the
// ring has no such node.
func (d *Directory) Node(name string) (*peer.Comet, bool) {
	p, ok := d.View().places[name]
	if !ok {
		return nil, false
	}
	return p.link.comet, true
}

// Shares returns node → its part of all keys, 0..1.
func (d *Directory) Shares() map[string]float64 { return d.View().Ring.Share() }

// Pinged reports whether the comet of a node answered the last ping, and when
// one was last answered; the zero time: never. A comet pings no others.
func (d *Directory) Pinged(node string) (alive bool, seen time.Time) {
	p, ok := d.View().places[node]
	if !ok {
		return false, time.Time{}
	}
	return p.link.pinged()
}
