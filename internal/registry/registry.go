package registry

import (
	"context"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
)

const (
	// sweep is how often everything is read again though nothing signalled a
	// change, for a watch can be lost without a word.
	sweep = 30 * time.Second
	// worry is how long a wait is not worth a line in the log.
	worry = time.Second
	// remind is how often a wait that goes on is logged again.
	remind = time.Minute
)

// Paths are the roots under which daemons register.
type Paths struct {
	Comet   string // comet.path: one child for each node of the ring
	Message string // message.path: one child for each message daemon
}

// base is what ZooKeeper and Memory have in common: everything above a tree.
type base struct {
	tree
	paths  Paths
	recall time.Duration // see forgotten; 0: this tree forgets nothing

	mu      sync.Mutex
	members map[*Membership]struct{} // those that have not left
	locks   map[string]*Lock         // by path: those that are not given back
}

func newBase(t tree, p Paths) *base {
	return &base{tree: t, paths: p, members: make(map[*Membership]struct{}), locks: make(map[string]*Lock)}
}

// Connected reports whether there is a session just now. Without one what was
// last seen may be old, and stays in force.
func (b *base) Connected() bool { return b.session() != 0 }

// Refresh makes every Watch and Membership look again, now.
func (b *base) Refresh() { b.refresh() }

// follow calls step now, after each change and at least once a sweep, until
// ctx ends. A step that fails is tried again with back-off, or at the next
// change; who names in the log what waits.
func (b *base) follow(ctx context.Context, who string, step func(context.Context) error) {
	changed, cancel := b.subscribe()
	defer cancel()
	retry := backoff.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	var since, warned time.Time // the trouble and its newest line in the log; zero while there is none
	for ctx.Err() == nil {
		err := step(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := sweep
		switch now := time.Now(); {
		case err != nil:
			wait = retry.Next()
			if since.IsZero() {
				since = now
			}
			if now.Sub(since) >= worry && now.Sub(warned) >= remind {
				warned = now
				glog.Warningf("registry: waits for ZooKeeper and tries again who=%q since=%s err=%q", who, now.Sub(since).Round(time.Second), err)
			}
		case !since.IsZero():
			if !warned.IsZero() {
				glog.Infof("registry: goes on who=%q after=%s", who, now.Sub(since).Round(time.Millisecond))
			}
			since, warned = time.Time{}, time.Time{}
			retry.Reset()
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}
