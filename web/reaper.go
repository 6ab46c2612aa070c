package web

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// Registry is where comets register, as far as web changes it.
type Registry interface {
	// TryLock takes the lock at, or fails at once with registry.ErrLocked.
	TryLock(ctx context.Context, at, who string) (*registry.Lock, error)
	// RemoveNode takes a node out as it was seen, or fails with
	// registry.ErrChanged.
	RemoveNode(ctx context.Context, n registry.Node) error
}

// Conn carries the calls to one daemon, over connections of its own.
type Conn interface {
	peer.Caller
	Close()
}

const (
	// reapEvery is the pause between two rounds of pings.
	reapEvery = time.Second
	// pingMost is how long a comet may take to answer a ping, if rpc.timeout is
	// not shorter: what is killed must be out of the ring within seconds.
	pingMost = 2 * time.Second
)

// reaper takes nodes out of the ring whose comets are dead. Every web has one,
// and one at a time works: the holder of the lock.
type reaper struct {
	// Set by newReaper, then read-only.
	dir     Directory
	reg     Registry
	dial    func(addr string) Conn
	now     func() time.Time
	at, who string // the lock, and who this web is in it
	timeout time.Duration
	count   *counters

	// Owned by run.
	verdict verdict
	lock    *registry.Lock  // nil: another web's
	next    time.Time       // when to try for the lock again
	pause   backoff.Backoff // between two tries
	blind   time.Time       // since when no comet answers; zero: some do
}

func (s *Server) newReaper() *reaper {
	return &reaper{
		dir: s.dir, reg: s.reg, dial: s.dial, now: s.now,
		at: s.initial.ZooKeeper.Migrate.Path + "-reaper", who: s.who(),
		timeout: s.timeout, count: s.count,
		verdict: verdict{rules: s.initial.Reap},
		pause:   backoff.Backoff{Min: time.Second, Max: 3 * time.Second},
	}
}

// run looks at the ring, until ctx ends.
func (r *reaper) run(ctx context.Context) error {
	defer r.unlock(context.WithoutCancel(ctx))
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		changed := r.dir.Changed()
		r.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changed:
		}
	}
}

// round looks, asks and removes.
func (r *reaper) round(ctx context.Context) {
	nodes := r.dir.Snapshot().Comets
	r.verdict.look(r.now(), nodes)
	if !r.hold(ctx) {
		return
	}
	answers := r.ping(ctx, places(nodes))
	if ctx.Err() != nil || !r.lock.Held() {
		return
	}
	ring := r.dir.Snapshot()
	for _, n := range r.verdict.judge(r.now(), nodes, answers) {
		if _, there := ring.Node(n.Name); there { // we asked for seconds: it may have been taken out since
			r.remove(ctx, n)
		}
	}
	r.seeAtAll(ctx, blind(nodes, answers))
}

// hold reports whether this web holds the lock, and takes it if it is free.
func (r *reaper) hold(ctx context.Context) bool {
	if r.lock != nil && r.lock.Held() {
		return true
	}
	now := r.now()
	if now.Before(r.next) {
		return false
	}
	r.next = now.Add(r.pause.Next())
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	l, err := r.reg.TryLock(ctx, r.at, r.who)
	if err != nil {
		return false // another web has it, or ZooKeeper is away, which is said elsewhere
	}
	glog.Infof("web: looks after dead comets from now on lock=%s", r.at)
	r.lock, r.blind = l, time.Time{}
	r.pause.Reset()
	r.verdict.doubt()
	return true
}

// unlock leaves the work to another web. What cannot be given back is still
// held, until the session ends at the latest.
func (r *reaper) unlock(ctx context.Context) {
	if r.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.lock.Unlock(ctx); err != nil {
		glog.Warningf("web: lock not given back lock=%s err=%q", r.at, err)
		return
	}
	r.lock = nil
}

// seeAtAll lets another web have its turn when this one has reached no comet for
// long: that may be its own fault.
func (r *reaper) seeAtAll(ctx context.Context, blind bool) {
	switch now := r.now(); {
	case !blind:
		r.blind = time.Time{}
	case r.blind.IsZero():
		r.blind = now
	case now.Sub(r.blind) >= r.verdict.rules.Window.D():
		glog.Warningf("web: reaches none of the comets that are registered, and leaves it to another web to tell who is dead lock=%s", r.at)
		r.unlock(ctx)
		r.next = now.Add(r.verdict.rules.Interval.D())
	}
}

func (r *reaper) remove(ctx context.Context, n registry.Node) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	_, registered := n.Active()
	err := r.reg.RemoveNode(ctx, n)
	switch {
	case err == nil:
		r.count.reaped.Add(1)
		glog.Warningf("web: took a dead comet out of the ring node=%s addr=%s registered=%t standbys=%d",
			n.Name, n.Info().Addr(), registered, max(0, len(n.Children)-1))
	case errors.Is(err, registry.ErrChanged):
		glog.Infof("web: a comet that seemed dead is back node=%s", n.Name)
	default:
		glog.Warningf("web: a dead comet is still in the ring node=%s err=%q", n.Name, err)
	}
}

// ping asks all places at a time.
func (r *reaper) ping(ctx context.Context, places []string) map[string]heard {
	ctx, cancel := context.WithTimeout(ctx, min(r.timeout, pingMost))
	defer cancel()
	answers := make([]heard, len(places))
	var asked sync.WaitGroup
	for i, at := range places {
		asked.Go(func() { answers[i] = r.pingPlace(ctx, strings.Split(at, ",")) })
	}
	asked.Wait()
	byPlace := make(map[string]heard, len(places))
	for i, at := range places {
		byPlace[at] = answers[i]
	}
	return byPlace
}

// pingPlace asks one comet at all its addresses at a time. Whatever comes back,
// an error too, shows that it is alive.
func (r *reaper) pingPlace(ctx context.Context, addrs []string) heard {
	results := make([]heard, len(addrs))
	var asked sync.WaitGroup
	for i, addr := range addrs {
		asked.Go(func() {
			c := r.dial(addr)
			defer c.Close()
			err := peer.NewComet(c).Ping(ctx)
			switch {
			case !errors.Is(err, rpcnet.ErrNotSent) && !errors.Is(err, rpcnet.ErrLost):
				results[i] = anAnswer
			case !ours(err):
				results[i] = silence
			}
		})
	}
	asked.Wait()
	if slices.Contains(results, anAnswer) {
		return anAnswer
	}
	return slices.Min(results) // one address that we could not even try leaves all open
}

// ours reports whether err is this machine's trouble, and says nothing about the
// other end.
func ours(err error) bool {
	return slices.ContainsFunc([]error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EACCES, syscall.EPERM,
	}, func(own error) bool { return errors.Is(err, own) })
}
