package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/golang/glog"
)

// Options are what ZooKeeper needs to know.
type Options struct {
	Addr        []string      // host:port of the servers
	Timeout     time.Duration // of a session, and of every request
	CometPath   string
	MessagePath string
}

// ZooKeeper is the registry of a cluster.
type ZooKeeper struct {
	*base
	ensemble *ensemble
}

// DialZooKeeper returns at once and connects in the background. Unreachable
// servers are no error: whoever needs them waits.
func DialZooKeeper(o Options) *ZooKeeper {
	e := &ensemble{addr: o.Addr, timeout: o.Timeout}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.done.Go(func() { e.keep(ctx) })
	b := newBase(e, Paths{Comet: o.CometPath, Message: o.MessagePath})
	b.recall = max(recallLeast, (giveUp+2)*o.Timeout)
	return &ZooKeeper{base: b, ensemble: e}
}

// Close ends the session, and with it every registration. Watch and Run go on
// and wait; end them first.
func (z *ZooKeeper) Close() {
	z.ensemble.cancel()
	z.ensemble.done.Wait()
}

// ensemble is a tree at the servers, through one client at a time.
type ensemble struct {
	signals
	addr    []string
	timeout time.Duration
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex
	client *client // nil before the first and after Close
	spare  *client // tries its luck while client has no session; nil otherwise
}

// giveUp is after how many session timeouts without a session we look whether
// a fresh client fares better.
const giveUp = 3

// keep holds a client until ctx ends, and replaces one that will never get a
// session again: the servers refuse whoever has seen a later transaction than
// they have, which is everybody after a wipe or a restore, and the library
// resolves their names once. To give up a session that may come back would make
// us a standby of our own ghost, so the old client goes only when a spare one
// has had a session for as long as the old session could have lived.
func (e *ensemble) keep(ctx context.Context) {
	changed, cancel := e.subscribe()
	defer cancel()
	defer func() { e.swap(nil, nil) }()
	tick := time.NewTicker(max(e.timeout/8, 50*time.Millisecond))
	defer tick.Stop()
	var lost, found, warned time.Time // when the session was lost, and when the spare client got one
	for ctx.Err() == nil {
		switch current, spare := e.clients(); {
		case current != nil && current.session() != 0:
			lost = time.Time{}
			if spare != nil {
				e.swap(current, nil)
			}
		case current != nil && lost.IsZero():
			lost = time.Now()
		case spare == nil && (current == nil || time.Since(lost) > giveUp*e.timeout):
			fresh, err := dial(e.addr, e.timeout, e.refresh)
			switch {
			case err != nil && time.Since(warned) > remind:
				warned = time.Now()
				glog.Warningf("registry: waiting for the addresses of ZooKeeper addr=%v err=%q", e.addr, err)
			case err != nil: // said so already
			case current == nil:
				e.swap(fresh, nil)
			default:
				e.swap(current, fresh)
			}
		case spare == nil || spare.session() == 0:
			found = time.Time{}
		case found.IsZero():
			found = time.Now()
		case time.Since(found) >= e.timeout:
			glog.Warningf("registry: ZooKeeper takes a fresh client but not the old one, whose session is given up: "+
				"was its data wiped or restored? addr=%v after=%s", e.addr, time.Since(lost).Round(time.Second))
			e.swap(spare, nil)
			lost, found = time.Time{}, time.Time{}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		}
	}
}

func (e *ensemble) clients() (current, spare *client) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.client, e.spare
}

// swap puts these two in place and closes those that are no longer needed.
func (e *ensemble) swap(current, spare *client) {
	e.mu.Lock()
	old := []*client{e.client, e.spare}
	e.client, e.spare = current, spare
	e.mu.Unlock()
	e.refresh()
	for _, c := range old {
		if c != nil && c != current && c != spare {
			c.close()
		}
	}
}

func (e *ensemble) session() int64 {
	if c, _ := e.clients(); c != nil {
		return c.session()
	}
	return 0
}

// use calls f with the current client.
func (e *ensemble) use(f func(*client) error) error {
	c, _ := e.clients()
	if c == nil || c.session() == 0 {
		return fmt.Errorf("%w at %v", errAway, e.addr)
	}
	return f(c)
}

func (e *ensemble) children(ctx context.Context, path string) (names []string, st stat, err error) {
	err = e.use(func(c *client) error {
		names, st, err = c.children(ctx, path)
		return err
	})
	return names, st, err
}

func (e *ensemble) get(ctx context.Context, path string) (data []byte, st stat, err error) {
	err = e.use(func(c *client) error {
		data, st, err = c.get(ctx, path)
		return err
	})
	return data, st, err
}

func (e *ensemble) create(ctx context.Context, path string, data []byte) error {
	return e.use(func(c *client) error { return c.create(ctx, path, data) })
}

func (e *ensemble) claim(ctx context.Context, path string, data []byte) error {
	return e.use(func(c *client) error { return c.claim(ctx, path, data) })
}

func (e *ensemble) register(ctx context.Context, parent string, data []byte) (name string, err error) {
	err = e.use(func(c *client) error {
		name, err = c.register(ctx, parent, data)
		return err
	})
	return name, err
}

func (e *ensemble) set(ctx context.Context, path string, data []byte, version int32) error {
	return e.use(func(c *client) error { return c.set(ctx, path, data, version) })
}

func (e *ensemble) remove(ctx context.Context, path string, version int32) error {
	return e.use(func(c *client) error { return c.remove(ctx, path, version) })
}
