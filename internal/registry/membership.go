package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/golang/glog"

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
	since   time.Time       // when name was registered
	again   backoff.Backoff // between registrations that others delete

	mu   sync.Mutex
	info Info
	name string
	left bool
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
// end of the session takes the child in any case.
func (m *Membership) Leave(ctx context.Context) error {
	m.mu.Lock()
	m.left = true
	if m.stop != nil {
		m.stop()
	}
	m.mu.Unlock()
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("registry: leave %s: %w", m.parent, err)
	}
	defer m.unlock()
	if err := m.leave(ctx); err != nil {
		return fmt.Errorf("registry: leave %s: %w", m.parent, err)
	}
	m.forget()
	m.base.mu.Lock()
	defer m.base.mu.Unlock()
	delete(m.base.members, m)
	return nil
}

func (m *Membership) leave(ctx context.Context) error {
	b := m.base
	for {
		name, err := m.find(ctx)
		if errors.Is(err, zk.ErrNoNode) {
			return nil // not even the parent is there
		}
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		// Once more after that: a create whose answer was lost may have left
		// a second one.
		if err := b.remove(ctx, path.Join(m.parent, name), anyVersion); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		m.setName("")
	}
	if m.node == "" {
		return nil
	}
	for {
		_, st, err := b.get(ctx, m.parent)
		if err == nil {
			err = b.remove(ctx, m.parent, st.version)
		}
		switch {
		case errors.Is(err, zk.ErrBadVersion): // a comet wrote meanwhile: look again
		case err == nil, errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNotEmpty): // a standby lives there: it stays
			return nil
		default:
			return err
		}
	}
}

// keep makes what is there what is wanted.
func (m *Membership) keep(ctx context.Context) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	i := m.Info()
	name, err := m.own(ctx, i)
	if err != nil || m.node == "" {
		return err
	}
	return m.mark(ctx, name, i)
}

// own returns the name of this daemon's child, which it registers if there is
// none and rewrites if it says something else.
func (m *Membership) own(ctx context.Context, i Info) (string, error) {
	b := m.base
	if m.Name() != "" && m.session != b.session() && b.session() != 0 {
		glog.Infof("registry: session expired, registering again parent=%s", m.parent)
		m.forget()
	}
	name, err := m.find(ctx)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return "", err
	}
	if name == "" {
		if m.Name() != "" {
			m.forget()
			if err := m.pause(ctx); err != nil {
				return "", err
			}
		}
		session := b.session()
		if name, err = m.register(ctx, i); err != nil {
			return "", fmt.Errorf("register under %s: %w", m.parent, err)
		}
		m.session = session
	}
	if m.Name() != name {
		m.setName(name)
		m.since = time.Now()
		glog.Infof("registry: registered parent=%s child=%s rpc=%v", m.parent, name, i.RPC)
	}
	at := path.Join(m.parent, name)
	data, _, err := b.get(ctx, at) // leaves the watch by which we learn that it is gone
	if err == nil && !bytes.Equal(data, i.encode()) {
		err = b.set(ctx, at, i.encode(), anyVersion)
	}
	return name, err
}

// register creates the child, and the znodes above it that are missing.
func (m *Membership) register(ctx context.Context, i Info) (string, error) {
	name, err := m.base.register(ctx, m.parent, i.encode())
	if errors.Is(err, zk.ErrNoNode) {
		if err := m.base.ensure(ctx, m.parent); err != nil {
			return "", err
		}
		name, err = m.base.register(ctx, m.parent, i.encode())
	}
	return name, err
}

// find returns the name of this daemon's child, "" if it has none: a child that
// belongs to the live session, and to no other membership of this process. A
// child of an earlier session is about to vanish and does not count; a create
// that succeeded though its answer was lost does.
func (m *Membership) find(ctx context.Context) (string, error) {
	b := m.base
	names, _, err := b.children(ctx, m.parent)
	if err != nil {
		return "", err
	}
	if own := m.Name(); own != "" { // look there first
		if i := slices.Index(names, own); i >= 0 {
			names[0], names[i] = names[i], names[0]
		}
	}
	for _, name := range names {
		if b.claimed(m, name) {
			continue
		}
		_, st, err := b.get(ctx, path.Join(m.parent, name))
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return "", err
		}
		if session := b.session(); session != 0 && st.owner == session {
			m.session = session
			return name, nil
		}
	}
	return "", nil
}

// claimed reports whether another membership of this process, and so of this
// session, has that child.
func (b *base) claimed(m *Membership, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other := range b.members {
		if other != m && other.parent == m.parent && other.Name() == name {
			return true
		}
	}
	return false
}

// mark writes the data of the active comet's child into the node's own, where
// the ring finds its weight and address while it is away for a moment.
func (m *Membership) mark(ctx context.Context, name string, i Info) error {
	b := m.base
	names, _, err := b.children(ctx, m.parent) // leaves the watch by which a standby learns that it is active
	if err != nil {
		return err
	}
	sortNames(names)
	if len(names) == 0 || names[0] != name {
		return nil
	}
	data, st, err := b.get(ctx, m.parent)
	if err != nil || bytes.Equal(data, i.encode()) {
		return err
	}
	return b.set(ctx, m.parent, i.encode(), st.version)
}

// pause waits before a child that somebody deleted is registered again, the
// longer the more often it happened: whoever deletes it may have a reason.
func (m *Membership) pause(ctx context.Context) error {
	if time.Since(m.since) > remind {
		m.again.Reset()
	}
	d := m.again.Next()
	glog.Warningf("registry: own znode was deleted, registering again parent=%s in=%s", m.parent, d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Membership) setName(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.name = name
}

// forget ends the registration: the child is gone, or is no longer ours.
func (m *Membership) forget() {
	m.setName("")
	m.session = 0
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
