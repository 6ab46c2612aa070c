package assemble

import (
	"context"
	"sync/atomic"

	"gopush-cluster/internal/directory"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// sight is the ring as a daemon sees it that calls no comet itself.
type sight struct {
	registry directory.Registry
	last     atomic.Pointer[registry.Snapshot] // nil: nothing was read yet
}

// run follows the registry until ctx ends.
func (s *sight) run(ctx context.Context) error {
	return s.registry.Watch(ctx, func(n registry.Snapshot) { s.last.Store(&n) })
}

// tell returns the ring as it was last read.
func (s *sight) tell() peer.ViewReply {
	if n := s.last.Load(); n != nil {
		return directory.Tell(*n)
	}
	return peer.ViewReply{}
}
