package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// ErrNoComet means that there is no comet in the ring.
var ErrNoComet = errors.New("directory: the ring is empty")

// Registry is where the cluster is read from.
type Registry interface {
	// Watch calls on with the newest state after every look, until ctx ends.
	Watch(ctx context.Context, on func(registry.Snapshot)) error
	// Connected reports whether the registry can be read just now.
	Connected() bool
	// Refresh asks for a look now.
	Refresh()
}

// Self is the comet that this directory belongs to.
type Self interface {
	// Node is its place in the ring.
	Node() string
	// Mine reports whether c leads to it.
	Mine(c registry.Child) bool
}

// Options say what a directory is for.
type Options struct {
	Registry Registry
	Self     Self                 // nil for a web, which pings comets too
	Client   rpcnet.ClientOptions // for calls to comets and messages
	Ping     time.Duration        // between two pings of a daemon; 0: 1 s
	Timeout  time.Duration        // of a ping, and of a call to the message daemons; 0: 2 s
	Clock    ClockOptions
}

// Directory follows the cluster and leads to its daemons. Until Run has read
// the registry the ring is empty.
type Directory struct {
	*Messages

	// Set by New, then read-only.
	registry Registry
	self     Self
	every    time.Duration
	timeout  time.Duration
	random   func(int) int
	links    *links
	clock    ClockOptions
	kick     chan struct{} // asks for a round of pings now

	view   atomic.Pointer[View] // replaced with mu held
	choice atomic.Pointer[choice]
	moves  moves // for a comet

	mu      sync.Mutex
	last    *registry.Snapshot // what the view was read from; nil: from nothing, or it was told
	changed chan struct{}      // closed and replaced with every view
}

// New returns a directory that knows nothing yet. It starts no goroutine.
func New(o Options) *Directory {
	if o.Ping <= 0 {
		o.Ping = time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	d := &Directory{
		registry: o.Registry,
		self:     o.Self,
		every:    o.Ping,
		timeout:  o.Timeout,
		random:   rand.IntN,
		links:    newLinks(o.Client),
		clock:    o.Clock,
		kick:     make(chan struct{}, 1),
		changed:  make(chan struct{}),
	}
	d.Messages = &Messages{d}
	d.view.Store(&View{})
	d.choice.Store(&choice{})
	return d
}

// Run follows the registry, pings the daemons and asks them for their time, until
// ctx ends. Then it closes
// all connections; so end it after everybody who calls.
func (d *Directory) Run(ctx context.Context) error {
	defer d.links.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.registry.Watch(ctx, d.read) })
	g.Go(func() error { d.pings(ctx); return nil })
	g.Go(func() error { d.clocks(ctx); return nil })
	return g.Wait()
}

// View returns the cluster as it is known now. It is never nil.
func (d *Directory) View() *View { return d.view.Load() }

// Snapshot returns the nodes of the ring as they are known now, and its age,
// without the message daemons.
func (d *Directory) Snapshot() registry.Snapshot {
	v := d.View()
	return registry.Snapshot{Epoch: v.Epoch, Root: v.Root, Comets: v.Nodes}
}

// Changed returns a channel that is closed when the view is replaced. Take the
// channel first and look at the view then, and nothing is missed.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// Lookup returns the node that key lives on, false if the ring is empty.
func (d *Directory) Lookup(key string) (registry.Node, bool) { return d.View().Lookup(key) }

// Comet returns the comet that key lives on. One that is away is called at its
// last address; if it never had one, the calls fail with rpcnet.ErrNotSent. The
// only error is ErrNoComet.
func (d *Directory) Comet(key string) (*peer.Comet, error) {
	p, ok := d.View().at(key)
	if !ok {
		return nil, ErrNoComet
	}
	return p.link.comet, nil
}

// Owns returns nil if key lives here: the ring names this comet's node, and
// whoever looks for that node is led to this comet. Otherwise it is
// peer.ErrNotMine. While no comet is registered under the node, others are led
// to the last address, so that a comet whose session has expired owns its keys
// until it is registered again or another one is.
func (d *Directory) Owns(key string) error {
	n, ok := d.View().Lookup(key)
	switch {
	case !ok:
		return fmt.Errorf("%w: the ring is empty", peer.ErrNotMine)
	case d.self == nil || n.Name != d.self.Node():
		return fmt.Errorf("%w: node=%s", peer.ErrNotMine, n.Name)
	}
	if !d.mine(n) {
		return fmt.Errorf("%w: node=%s, where this comet is not the active one", peer.ErrNotMine, n.Name)
	}
	return nil
}

// Told takes the ring that a web tells by Migrate. What the registry says
// always wins, so it is only asked to look again. While it is away the told
// ring is taken over if it is newer; one without an epoch, which an old web
// tells, is taken as it stands. Told reports whether the ring here is as new as
// the one that was told.
func (d *Directory) Told(args peer.MigrateArgs) bool {
	defer d.registry.Refresh()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.registry.Connected() && d.View().believes(args, time.Now()) {
		glog.Infof("directory: took over a ring that was told, for the registry is away epoch=%d nodes=%d", args.Epoch, len(args.Nodes))
		d.last = nil
		d.publish(d.View().told(args, d.links))
	}
	return !age{args.Root, args.Epoch}.newer(d.View().age())
}

// believes reports whether a ring that is told is to be taken over while the
// registry cannot be asked.
func (v *View) believes(args peer.MigrateArgs, now time.Time) bool {
	told := age{args.Root, args.Epoch}
	switch {
	case len(args.Nodes) == 0: // nobody tells a comet of a ring without comets but by mistake
		return false
	case args.Epoch == 0:
		return !maps.Equal(args.Nodes, v.weights) // else told again
	}
	return told.newer(v.age()) && (!told.foreign(v.age()) || told.settled(now))
}

// read takes over what was read from the registry.
func (d *Directory) read(s registry.Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil && reflect.DeepEqual(*d.last, s) {
		return
	}
	d.last = &s
	d.publish(d.View().read(s, d.links))
}

// publish puts v in the place of the current view. mu is held.
func (d *Directory) publish(v *View) {
	changes := d.View().changes(v)
	if d.self != nil {
		// First, so that whoever finds a key to be its own finds its former
		// owner too.
		d.moves.replaced(d.former(v), v, d.mine, time.Now())
	}
	if was, now := d.role(d.View()), d.role(v); was != now {
		changes = append(changes, now)
	}
	d.view.Store(v)
	d.links.use(v, time.Now())
	d.choice.Store(newChoice(v.messages))
	close(d.changed)
	d.changed = make(chan struct{})
	d.pingNow()
	if len(changes) > 0 {
		glog.Infof("directory: the cluster changed (%s) epoch=%d ring=%v messages=%d", strings.Join(changes, "; "), v.Epoch, v.weights, len(v.messages))
	} else if glog.V(1) {
		glog.Infof("directory: read again, nothing of note is different epoch=%d", v.Epoch)
	}
}

// ErrUnread means that nothing is known of the cluster: an empty ring is then no
// ring without comets, but none that was read.
var ErrUnread = errors.New("directory: ZooKeeper was not read yet")

// known returns nil once something is known of the cluster.
func (d *Directory) known() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil && d.View().Epoch == 0 {
		return ErrUnread
	}
	return nil
}

// Await waits until something is known of the cluster, and returns ErrUnread if
// ctx ends first.
func (d *Directory) Await(ctx context.Context) error {
	for {
		changed := d.Changed()
		err := d.known()
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// Ready returns nil when the cluster is known and a message daemon answers.
func (d *Directory) Ready() error {
	if err := d.known(); err != nil {
		return err
	}
	messages := d.View().messages
	for _, m := range messages {
		if m.link.state.Load() == alive {
			return nil
		}
	}
	return fmt.Errorf("directory: none of the message daemons answers, registered=%d", len(messages))
}
