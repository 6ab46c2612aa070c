package registry

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"time"

	"github.com/go-zookeeper/zk"
)

// Withdraw takes a comet out but keeps its place, for a restart: its child is
// deleted, and the node stays in the ring with the addresses that it had. Until
// keep nobody takes the node for abandoned. A standby takes the place over at
// once, as after Leave. It ends Run. Called again it moves keep, as long as the
// place waits. After an error it may be called again.
func (m *Membership) Withdraw(ctx context.Context, keep time.Time) error {
	return m.quit(ctx, "withdraw from", func(ctx context.Context) error { return m.withdraw(ctx, keep) })
}

// withdraw says that the place is kept before it deletes the child, so that at
// no moment the node looks abandoned.
func (m *Membership) withdraw(ctx context.Context, keep time.Time) error {
	name, err := m.find(ctx, m.base.session())
	if err != nil {
		return err
	}
	if err := m.reserve(ctx, name, keep); err != nil && !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	return m.unregister(ctx)
}

// reserve writes keep into the node's data if the place is this daemon's: its
// child, called name, is the active one, or there is none and the data is what
// this daemon wrote.
func (m *Membership) reserve(ctx context.Context, name string, keep time.Time) error {
	b := m.base
	for {
		names, _, err := b.children(ctx, m.parent)
		if err != nil {
			return err
		}
		sortNames(names)
		data, st, err := b.get(ctx, m.parent)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			if names[0] != name {
				return nil
			}
		} else if last, err := parseInfo(data); err != nil || !m.Mine(Child{Info: last}) {
			return nil
		}
		err = b.set(ctx, m.parent, m.Info().encodeKept(keep), st.version)
		if !errors.Is(err, zk.ErrBadVersion) { // somebody wrote meanwhile: look again
			return err
		}
	}
}

// unregister deletes the child.
func (m *Membership) unregister(ctx context.Context) error {
	b := m.base
	for {
		name, err := m.find(ctx, b.session())
		if err != nil || name == "" {
			return err
		}
		if err := b.remove(ctx, path.Join(m.parent, name), anyVersion); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		m.setName("") // and once more: there may be one whose answer was lost
	}
}

// encodeKept returns i as the data of a node whose comet will be back. The
// second is rounded up: a place is kept for as long as was asked, or longer.
func (i Info) encodeKept(keep time.Time) []byte {
	if i.RPC == nil {
		i.RPC = []string{}
	}
	data, err := json.Marshal(struct {
		Info
		Keep int64 `json:"keep"`
	}{i, keep.Add(time.Second - 1).Unix()})
	if err != nil {
		panic("registry: strings and numbers do not marshal: " + err.Error())
	}
	return data
}
