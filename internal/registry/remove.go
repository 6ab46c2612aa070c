package registry

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-zookeeper/zk"
)

// ErrChanged means that something is no longer as it was seen.
var ErrChanged = errors.New("registry: changed meanwhile")

// RemoveNode takes n out of the ring, as it was seen: its active child, if it
// has one, and then the node itself. Where a standby is registered the node
// stays, and the standby takes over. It is ErrChanged if what is there is not
// what was seen, or if somebody has registered since; then the comet is alive.
func (b *base) RemoveNode(ctx context.Context, n Node) error {
	at := path.Join(b.paths.Comet, n.Name)
	if c, ok := n.Active(); ok {
		if err := b.removeSeen(ctx, path.Join(at, c.Name), c.Version); err != nil {
			return fmt.Errorf("registry: remove the comet of %s: %w", n.Name, err)
		}
		if len(n.Children) > 1 {
			return nil
		}
	}
	if err := b.removeSeen(ctx, at, n.Version); err != nil {
		return fmt.Errorf("registry: remove %s: %w", n.Name, err)
	}
	return nil
}

// removeSeen deletes the znode whose last change was the transaction seen. The
// count by which ZooKeeper compares begins anew in a znode that was deleted and
// made again, with the same name; the transaction does not.
func (b *base) removeSeen(ctx context.Context, at string, seen int64) error {
	_, st, err := b.get(ctx, at)
	if err == nil && st.mzxid != seen {
		return ErrChanged
	}
	if err == nil {
		err = b.remove(ctx, at, st.version)
	}
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNotEmpty) {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return err
}
