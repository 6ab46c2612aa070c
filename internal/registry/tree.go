package registry

import (
	"context"
	"errors"
)

// tree is a session with the hierarchy of znodes: a real ZooKeeper's, or
// Memory's. Everything above it is written once for both. Its errors are those
// of the zk package (zk.ErrNoNode, …), or errAway.
type tree interface {
	// session is the id of the live session; 0: there is none just now. What
	// was created under another id is gone, or soon will be.
	session() int64

	// children and get read a znode and leave a watch behind: a later change
	// signals every subscriber.
	children(ctx context.Context, path string) ([]string, stat, error)
	get(ctx context.Context, path string) ([]byte, stat, error)

	// create makes a persistent znode. Its parent must exist.
	create(ctx context.Context, path string, data []byte) error
	// claim makes an ephemeral znode of this very name. Its parent must exist.
	claim(ctx context.Context, path string, data []byte) error
	// register makes an ephemeral, sequential child of parent and returns its
	// name.
	register(ctx context.Context, parent string, data []byte) (string, error)
	set(ctx context.Context, path string, data []byte, version int32) error
	// remove deletes a znode that has this version and no children.
	remove(ctx context.Context, path string, version int32) error

	// subscribe returns a channel that holds one signal when something that
	// was read may have changed, or the session did. Signals coalesce.
	subscribe() (changed <-chan struct{}, cancel func())
	// refresh signals every subscriber.
	refresh()
}

// stat is what we use of a znode's stat.
type stat struct {
	version int32 // counts changes of the data
	mzxid   int64 // the transaction that last changed the data
	pzxid   int64 // the transaction that last added or removed a child
	ctime   int64 // when the znode was made, in unix ms by ZooKeeper's clock
	owner   int64 // the session that an ephemeral belongs to; 0: persistent
}

// anyVersion lets set and remove do without a version.
const anyVersion = -1

// errAway means that there is no session with ZooKeeper just now.
var errAway = errors.New("no session with ZooKeeper")
