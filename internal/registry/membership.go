package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"gopush-cluster/internal/backoff"
)

// Membership is one daemon's place among the others: an ephemeral, sequential
// child that Run keeps registered.
//
// What is wanted (a child with this data, or after Leave none) is compared with
// what is there, again after each change. So it does not matter which event
// was missed, or which answer was lost.
type Membership struct {
	base   *base
	parent string // the znode that the child is created under
	node   string // the comet's place in the ring; empty for a message daemon

	turn chan struct{} // holds one token: keep and leave take turns
	// Guarded by turn.
	session int64           // that name belongs to
	unsure  bool            // a registration failed, and may have been carried out
	since   time.Time       // when name was registered; zero: nothing ever was
	again   backoff.Backoff // between registrations that others delete

	mu   sync.Mutex
	info Info
	name string
	left bool
	kept *bool              // whether the place was kept for this daemon; nil: not known yet
	stop context.CancelFunc // ends Run, while it runs
}

// JoinComet returns the membership of a comet in the ring's place node. It
// takes effect with Run.
func (b *base) JoinComet(node string, i Info) *Membership {
	return b.join(path.Join(b.paths.Comet, node), node, i)
}

// JoinMessage returns the membership of a message daemon. It takes effect with
// Run.
func (b *base) JoinMessage(i Info) *Membership { return b.join(b.paths.Message, "", i) }

func (b *base) join(parent, node string, i Info) *Membership {
	m := &Membership{
		base: b, parent: parent, node: node, info: i,
		turn:  make(chan struct{}, 1),
		again: backoff.Backoff{Min: time.Second, Max: 30 * time.Second},
	}
	m.turn <- struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[m] = struct{}{}
	return m
}

// Node is the comet's place in the ring; empty for a message daemon.
func (m *Membership) Node() string { return m.node }

// Name is the name of the daemon's own child; "" while it has none. It is kept
// while ZooKeeper is away, until it is known to be gone.
func (m *Membership) Name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.name
}

// Kept reports whether this comet, when it registered for the first time, found
// its place in the ring kept by Withdraw in a former life, and whether that is
// known yet.
func (m *Membership) Kept() (kept, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept != nil && *m.kept, m.kept != nil
}

// found notes what the node's data was when this comet registered for the first
// time; nil where another one is active there.
func (m *Membership) found(data []byte) {
	last, err := parseInfo(data)
	kept := err == nil && !parseKeep(data).IsZero() && m.Mine(Child{Info: last})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = &kept
	}
}

// Info is what the daemon tells about itself.
func (m *Membership) Info() Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

// Mine reports whether c is this daemon: it advertises the very addresses that
// this daemon listens on, or, where it has none, has its name. The addresses
// count first because a name changes when a session expires, and is given
// again in a wiped ZooKeeper, while others find this daemon by its address.
func (m *Membership) Mine(c Child) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.info.RPC) > 0 && len(c.Info.RPC) > 0 {
		return slices.Equal(m.info.RPC, c.Info.RPC)
	}
	return m.name != "" && m.name == c.Name
}

// Set changes what the daemon tells about itself. Run writes it.
func (m *Membership) Set(i Info) {
	m.mu.Lock()
	m.info = i
	m.mu.Unlock()
	m.base.refresh()
}

// Run keeps the daemon registered until ctx ends or Leave is called, and then
// returns nil. Neither a lost connection nor an expired session ends it: what
// is gone is registered again. When ctx ends the child stays, until Leave, or
// the end of the session.
func (m *Membership) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	if m.left {
		cancel()
	}
	m.stop = cancel
	m.mu.Unlock()
	m.base.follow(ctx, "membership of "+m.parent, m.keep)
	return nil
}

// Leave takes the daemon out: its child is deleted and, for a comet without a
// standby, the node too, so that the ring closes at once. It ends Run. After
// an error the child may still be there; Leave may be called again, and the
// end of the session takes the child in any case. While ZooKeeper is away it fails,
// unless nothing was ever registered.
func (m *Membership) Leave(ctx context.Context) error { return m.quit(ctx, "leave", m.leave) }

// quit ends Run, takes the registration away in the way of how, and forgets it.
func (m *Membership) quit(ctx context.Context, what string, how func(context.Context) error) error {
	m.mu.Lock()
	m.left = true
	if m.stop != nil {
		m.stop()
	}
	m.mu.Unlock()
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("registry: %s %s: %w", what, m.parent, err)
	}
	defer m.unlock()
	err := how(ctx)
	if errors.Is(err, errAway) && m.since.IsZero() && !m.unsure {
		err = nil // a daemon that ends while it still waits to register leaves nothing behind
	}
	if err != nil {
		return fmt.Errorf("registry: %s %s: %w", what, m.parent, err)
	}
	m.forget()
	m.base.mu.Lock()
	defer m.base.mu.Unlock()
	delete(m.base.members, m)
	return nil
}

func (m *Membership) setName(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.name = name
}

// forget ends the registration: the child is gone, or is no longer ours.
func (m *Membership) forget() {
	m.setName("")
	m.session, m.unsure = 0, false
}

func (m *Membership) lock(ctx context.Context) error {
	select {
	case <-m.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Membership) unlock() { m.turn <- struct{}{} }
