package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// linger is how long a link outlives the last view that had it: whoever took
// it from that view may be about to call, and a comet hands pushes on to those
// that held its keys before.
const linger = formerTime

// kind is what kind of daemon is at the other end.
type kind int

const (
	comet kind = iota
	message
)

func (k kind) String() string {
	if k == comet {
		return "comet"
	}
	return "message"
}

// link leads to one daemon. It is a peer.Caller that tries the daemon's
// addresses in their order, as long as nothing was sent.
type link struct {
	kind    kind
	addr    string // for logs: the addresses, comma-separated
	clients []*rpcnet.Client
	comet   *peer.Comet   // nil for a message daemon
	message *peer.Message // nil for a comet

	calls   atomic.Int32 // under way
	pinging atomic.Bool
	state   atomic.Int32 // unknown, alive or dead
	seen    atomic.Int64 // when it last answered a ping, in unix nanoseconds; 0: never
	telling atomic.Bool  // it is being asked for its time

	timeDue time.Time // when it is to be asked again; owned by who has set telling

	gone time.Time // guarded by links.mu: when the last view that had it was replaced; zero: in use
}

const (
	unknown int32 = iota // not pinged yet
	alive
	dead // did not answer the last ping, or was not there for a call
)

// errNoAddress means that the daemon never said where it can be reached.
var errNoAddress = errors.New("directory: no address is known")

// Call calls the daemon. See rpcnet.Client for the errors.
func (l *link) Call(ctx context.Context, method string, args, reply any) error {
	l.calls.Add(1)
	defer l.calls.Add(-1)
	err := fmt.Errorf("%w: %s: %w", rpcnet.ErrNotSent, method, errNoAddress)
	for _, c := range l.clients {
		if err = c.Call(ctx, method, args, reply); !errors.Is(err, rpcnet.ErrNotSent) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Addr returns the address, or addresses, of the daemon.
func (l *link) Addr() string { return l.addr }

// ping asks the daemon whether it is there, and reports whether its state has
// changed.
func (l *link) ping(ctx context.Context) (changed bool, err error) {
	if l.kind == comet {
		err = l.comet.Ping(ctx)
	} else {
		err = l.message.Ping(ctx)
	}
	if err != nil {
		return l.state.Swap(dead) != dead, err
	}
	l.seen.Store(time.Now().UnixNano())
	return l.state.Swap(alive) != alive, nil
}

// pinged reports whether the daemon answered the last ping, and when it last did.
func (l *link) pinged() (last bool, seen time.Time) {
	if at := l.seen.Load(); at != 0 {
		seen = time.Unix(0, at)
	}
	return l.state.Load() == alive, seen
}

func (l *link) close() {
	for _, c := range l.clients {
		c.Close()
	}
}

// links keeps one link for each daemon, from view to view.
type links struct {
	opts rpcnet.ClientOptions

	mu  sync.Mutex
	all map[linkKey]*link
}

type linkKey struct {
	kind kind
	addr string
}

func newLinks(o rpcnet.ClientOptions) *links { return &links{opts: o, all: make(map[linkKey]*link)} }

// open returns the link to the daemon that is registered so. Without addresses it
// is one over which nothing can be sent.
func (t *links) open(k kind, at registry.Info) *link {
	key := linkKey{k, at.Addr()}
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.all[key]
	if ok {
		l.gone = time.Time{} // from now on, or sweep might come before use
		return l
	}
	l = &link{kind: k, addr: key.addr}
	for _, a := range at.RPC {
		l.clients = append(l.clients, rpcnet.NewClient(a, t.opts))
	}
	if k == comet {
		l.comet = peer.NewComet(l)
	} else {
		l.message = peer.NewMessage(l)
	}
	t.all[key] = l
	return l
}

// use marks the links of v as in use, and the others as gone.
func (t *links) use(v *View, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := make(map[*link]bool)
	v.links(func(l *link) { used[l] = true })
	for _, l := range t.all {
		switch {
		case used[l]:
			l.gone = time.Time{}
		case l.gone.IsZero():
			l.gone = now
		}
	}
}

// sweep closes the links that have been gone for long and carry no call.
func (t *links) sweep(now time.Time) {
	var old []*link
	t.mu.Lock()
	for key, l := range t.all {
		if !l.gone.IsZero() && now.Sub(l.gone) >= linger && l.calls.Load() == 0 {
			delete(t.all, key)
			old = append(old, l)
		}
	}
	t.mu.Unlock()
	for _, l := range old {
		l.close()
	}
}

// close closes all links.
func (t *links) close() {
	t.mu.Lock()
	all := t.all
	t.all = make(map[linkKey]*link)
	t.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}
