package registry

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// client is one zk.Conn and what the library leaves to its user: a timeout for
// every request, watches that do not pile up, and an end.
type client struct {
	conn    *zk.Conn
	events  <-chan zk.Event
	timeout time.Duration
	changed func() // called after every change, never blocks

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	live   atomic.Bool // there is a session, and a connection that carries it

	watches watches

	mu       sync.Mutex
	closed   bool
	socket   net.Conn       // the newest
	requests sync.WaitGroup // Add is called with mu held, and never once closed
}

// dial starts a client. It fails when no address of the ensemble is known, and
// otherwise connects in the background, again and again, until close.
func dial(addr []string, timeout time.Duration, changed func()) (*client, error) {
	c := &client{timeout: timeout, changed: changed}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	conn, events, err := zk.Connect(addr, timeout,
		zk.WithLogger(quiet{}), zk.WithDialer(c.dial), zk.WithEventCallback(c.event))
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.conn, c.events = conn, events
	return c, nil
}

// close ends the session, and with it our ephemerals, if the server can be
// reached within a second or so. It returns when nothing of c runs any more.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.conn.Close()
	c.cancel()
	c.mu.Lock()
	if c.socket != nil {
		c.socket.Close()
	}
	c.mu.Unlock()
	for range c.events { // until the library's last goroutine closes it
	}
	c.requests.Wait()
}

func (c *client) session() int64 {
	if !c.live.Load() {
		return 0
	}
	return c.conn.SessionID()
}

// event is the library's callback. Its channel would drop events; this must
// not block.
func (c *client) event(e zk.Event) {
	if e.Type != zk.EventSession {
		c.watches.fire(e)
		c.changed()
		return
	}
	switch e.State {
	case zk.StateHasSession:
		c.live.Store(true)
		c.changed()
	case zk.StateExpired, zk.StateDisconnected:
		if c.live.Swap(false) || e.State == zk.StateExpired {
			c.changed()
		}
	}
}

// znode is the answer to a read.
type znode struct {
	data  []byte
	names []string
	stat  *zk.Stat
}

func (c *client) children(ctx context.Context, path string) ([]string, stat, error) {
	z, err := c.read(ctx, watchKey{path, true}, func(watch bool) (z znode, err error) {
		if watch {
			z.names, z.stat, _, err = c.conn.ChildrenW(path)
		} else {
			z.names, z.stat, err = c.conn.Children(path)
		}
		return z, err
	})
	return z.names, statOf(z.stat), err
}

func (c *client) get(ctx context.Context, path string) ([]byte, stat, error) {
	z, err := c.read(ctx, watchKey{path, false}, func(watch bool) (z znode, err error) {
		if watch {
			z.data, z.stat, _, err = c.conn.GetW(path)
		} else {
			z.data, z.stat, err = c.conn.Get(path)
		}
		return z, err
	})
	return z.data, statOf(z.stat), err
}

// read reads a znode so that afterwards the server holds a watch on it.
func (c *client) read(ctx context.Context, key watchKey, read func(watch bool) (znode, error)) (znode, error) {
	for {
		w, armed := c.watches.of(key)
		z, err := request(ctx, c, func() (znode, error) { return read(!armed) })
		if err != nil {
			if !armed {
				c.watches.forget(key, w)
			}
			return znode{}, err
		}
		zxid := z.stat.Mzxid
		if key.children {
			zxid = z.stat.Pzxid
		}
		if !armed {
			c.watches.arm(w, zxid)
			return z, nil
		}
		if !c.watches.lost(w, zxid) {
			return z, nil
		}
		c.watches.forget(key, w)
	}
}

func (c *client) create(ctx context.Context, path string, data []byte) error {
	_, err := request(ctx, c, func() (string, error) {
		return c.conn.Create(path, data, 0, zk.WorldACL(zk.PermAll))
	})
	return err
}

func (c *client) claim(ctx context.Context, path string, data []byte) error {
	_, err := request(ctx, c, func() (string, error) {
		return c.conn.Create(path, data, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	})
	return err
}

func (c *client) register(ctx context.Context, parent string, data []byte) (string, error) {
	path, err := request(ctx, c, func() (string, error) {
		return c.conn.Create(parent+"/", data, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	})
	if err != nil {
		return "", err
	}
	return path[len(parent)+1:], nil
}

func (c *client) set(ctx context.Context, path string, data []byte, version int32) error {
	_, err := request(ctx, c, func() (*zk.Stat, error) { return c.conn.Set(path, data, version) })
	return err
}

func (c *client) remove(ctx context.Context, path string, version int32) error {
	_, err := request(ctx, c, func() (struct{}, error) { return struct{}{}, c.conn.Delete(path, version) })
	return err
}

// request calls do, which the library answers or not, and waits for at most the
// timeout. What it left behind ends with the connection at the latest, and is
// waited for by close.
func request[T any](ctx context.Context, c *client, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	c.mu.Lock()
	if c.closed || c.session() == 0 {
		c.mu.Unlock()
		return none, errAway
	}
	done := make(chan result, 1)
	c.requests.Go(func() {
		v, err := do()
		done <- result{v, err}
	})
	c.mu.Unlock()
	t := time.NewTimer(c.timeout)
	defer t.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-t.C:
		return none, fmt.Errorf("ZooKeeper does not answer within %v", c.timeout)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func statOf(s *zk.Stat) stat {
	if s == nil {
		return stat{}
	}
	return stat{version: s.Version, mzxid: s.Mzxid, pzxid: s.Pzxid, ctime: s.Ctime, owner: s.EphemeralOwner}
}
