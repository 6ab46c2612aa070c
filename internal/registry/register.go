package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/golang/glog"
)

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
	session := b.session()
	if m.Name() != "" && session != 0 && session != m.session {
		glog.Infof("registry: session expired, registering again parent=%s", m.parent)
		m.forget()
	}
	name, err := m.find(ctx, session)
	if err != nil {
		return "", err
	}
	if name == "" {
		if m.Name() != "" {
			m.forget()
			if err := m.pause(ctx); err != nil {
				return "", err
			}
			session = b.session()
		}
		name, err = m.register(ctx, i)
		m.unsure = err != nil
		if err != nil {
			return "", fmt.Errorf("register under %s: %w", m.parent, err)
		}
	}
	m.session, m.unsure = session, false
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
// belongs to this session. One of an earlier session is about to vanish and
// does not count. After a registration that failed it also looks for a child
// that was created though the answer was lost.
func (m *Membership) find(ctx context.Context, session int64) (string, error) {
	b := m.base
	if session == 0 {
		return "", errAway
	}
	mine := func(name string) (bool, error) {
		_, st, err := b.get(ctx, path.Join(m.parent, name))
		if errors.Is(err, zk.ErrNoNode) {
			return false, nil
		}
		return st.owner == session, err
	}
	if own := m.Name(); own != "" {
		if ok, err := mine(own); ok || err != nil {
			return own, err
		}
	}
	if !m.unsure {
		return "", nil
	}
	names, _, err := b.children(ctx, m.parent)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return "", err
	}
	for _, name := range names {
		if b.claimed(m, name) {
			continue
		}
		if ok, err := mine(name); ok || err != nil {
			return name, err
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
		m.found(nil)
		return nil
	}
	data, st, err := b.get(ctx, m.parent)
	if err == nil {
		m.found(data)
	}
	if err != nil || bytes.Equal(data, i.encode()) {
		return err
	}
	err = b.set(ctx, m.parent, i.encode(), st.version)
	if errors.Is(err, zk.ErrBadVersion) {
		return nil // somebody wrote meanwhile, and that is a change to come
	}
	return err
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

// leave deletes the child and, if it was the last, the node.
func (m *Membership) leave(ctx context.Context) error {
	b := m.base
	if err := m.unregister(ctx); err != nil || m.node == "" {
		return err
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
