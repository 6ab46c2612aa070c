package web

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

const (
	// gather is for how long changes of the ring are collected, to be told
	// together.
	gather = 2 * time.Second
	// lockPatience is how long the lock is waited for. It only spares the
	// comets' time; who holds it for ever must not keep a ring from them.
	lockPatience = 30 * time.Second
	// farewell is how long a comet is told of changes after it has left: one
	// that lives, and does not know, sends its clients away.
	farewell = time.Hour
)

// migration tells comets of the ring. A comet reads it by itself; what it is
// told makes it look at once, helps one that cannot reach ZooKeeper, and is the
// only source of an old one.
//
// What counts is the ring now, and who has agreed to it: it does not matter
// which change was missed. One web at a time tells all comets, the holder of
// the lock, for at most rpc.timeout. Who could not be told is told again,
// without the lock.
type migration struct {
	// Set by newMigration, then read-only.
	dir     Directory
	reg     Registry
	dial    func(addr string) Conn
	at, who string // the lock, and who this web is in it
	timeout time.Duration
	count   *counters

	// Owned by run.
	told   int64     // the epoch of the last round
	due    time.Time // of the next round; zero: nothing has changed
	lock   *registry.Lock
	tries  backoff.Backoff // for the lock
	comets map[string]*agreement
}

// agreement is how far one comet is with the ring.
type agreement struct {
	epoch int64     // that it agreed to
	left  time.Time // since when it is not registered; zero: it is
	next  time.Time // when to tell it again
	pause backoff.Backoff
}

func (s *Server) newMigration() *migration {
	return &migration{
		dir: s.dir, reg: s.reg, dial: s.dial,
		at: s.initial.ZooKeeper.Migrate.Path, who: s.who(),
		timeout: s.timeout, count: s.count,
		tries:  backoff.Backoff{Min: 250 * time.Millisecond, Max: time.Second},
		comets: make(map[string]*agreement),
	}
}

// run tells comets, until ctx ends.
func (m *migration) run(ctx context.Context) error {
	defer m.unlock(ctx)
	for {
		changed := m.dir.Changed()
		rest := m.step(ctx)
		if m.lock != nil { // not given back: very soon again
			rest = min(rest, time.Second)
		}
		wait := time.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-wait.C:
		}
		wait.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// step does what is due, and returns how long there is nothing to do but for a
// change.
func (m *migration) step(ctx context.Context) time.Duration {
	m.unlock(ctx) // what could not be given back before
	ring, now := m.dir.Snapshot(), time.Now()
	m.meet(ring, now)
	if ring.Epoch == m.told {
		m.due = time.Time{}
		return m.again(ctx, ring)
	}
	if m.due.IsZero() {
		m.due = now.Add(gather)
	}
	if now.Before(m.due) {
		return m.due.Sub(now)
	}
	if !m.elected(ctx) && now.Sub(m.due) < lockPatience {
		return m.tries.Next()
	}
	for _, a := range m.comets {
		a.pause.Reset()
	}
	m.tell(ctx, ring, m.all(func(a *agreement) bool { return a.epoch != ring.Epoch }))
	m.told, m.due = ring.Epoch, time.Time{}
	m.unlock(ctx)
	m.tries.Reset()
	return 0
}

// again tells those who have not agreed yet and whose turn it is.
func (m *migration) again(ctx context.Context, ring registry.Snapshot) time.Duration {
	now := time.Now()
	m.tell(ctx, ring, m.all(func(a *agreement) bool { return a.epoch != ring.Epoch && !now.Before(a.next) }))
	wait := time.Minute // and then forget who left an hour ago
	for _, a := range m.comets {
		if a.epoch != ring.Epoch {
			wait = min(wait, time.Until(a.next))
		}
	}
	return wait
}

// meet takes note of who is registered, and who no longer is.
func (m *migration) meet(ring registry.Snapshot, now time.Time) {
	here := make(map[string]bool)
	for _, at := range places(ring.Comets) {
		here[at] = true
		if m.comets[at] == nil {
			m.comets[at] = &agreement{pause: backoff.Backoff{Min: time.Second, Max: 30 * time.Second}}
		}
	}
	for at, a := range m.comets {
		switch {
		case here[at]:
			a.left = time.Time{}
		case a.left.IsZero():
			a.left = now
		case now.Sub(a.left) >= farewell:
			delete(m.comets, at)
		}
	}
}

// elected reports whether this web is the one to tell.
func (m *migration) elected(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	l, err := m.reg.TryLock(ctx, m.at, m.who)
	m.lock = l
	return err == nil
}

// unlock gives the lock back, though ctx may be over. What cannot be given back
// just now is tried again by the next step, and ends with the session.
func (m *migration) unlock(ctx context.Context) {
	if m.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timeout)
	defer cancel()
	if err := m.lock.Unlock(ctx); err != nil {
		glog.V(1).Infof("web: lock not given back yet lock=%s err=%q", m.at, err)
		return
	}
	m.lock = nil
}

func (m *migration) all(want func(*agreement) bool) []string {
	var places []string
	for at, a := range m.comets {
		if want(a) {
			places = append(places, at)
		}
	}
	return places
}

// tell tells the comets at these places, all at a time, and takes note of who
// agreed.
func (m *migration) tell(ctx context.Context, ring registry.Snapshot, places []string) {
	if len(places) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	args := peer.MigrateArgs{Nodes: ring.Weights(), Epoch: ring.Epoch, Root: ring.Root, Addrs: ring.Addrs()}
	errs := make([]error, len(places))
	var asked sync.WaitGroup
	for i, at := range places {
		asked.Go(func() { errs[i] = m.tellPlace(ctx, strings.Split(at, ","), args) })
	}
	asked.Wait()
	agreed := 0
	for i, at := range places {
		a := m.comets[at]
		if err := errs[i]; err != nil {
			a.next = time.Now().Add(a.pause.Next())
			glog.V(1).Infof("web: a comet does not agree to the ring yet addr=%s left=%t epoch=%d err=%q", at, !a.left.IsZero(), ring.Epoch, err)
			continue
		}
		a.epoch = ring.Epoch
		agreed++
	}
	if agreed > 0 {
		m.count.told.Add(int64(agreed))
		glog.Infof("web: told comets of the ring epoch=%d nodes=%d agree=%d not_yet=%v", ring.Epoch, len(args.Nodes), agreed, m.waiting(ring.Epoch))
	}
}

// waiting returns who is registered and has not agreed to the ring. Those that
// have left are told as well, but most are just gone, and nobody waits for them.
func (m *migration) waiting(epoch int64) []string {
	at := m.all(func(a *agreement) bool { return a.left.IsZero() && a.epoch != epoch })
	slices.Sort(at)
	return at
}

// tellPlace tells one comet, at the first of its addresses that takes the call.
func (m *migration) tellPlace(ctx context.Context, addrs []string, args peer.MigrateArgs) error {
	var err error
	for _, addr := range addrs {
		c := m.dial(addr)
		err = peer.NewComet(c).Migrate(ctx, args)
		c.Close()
		if !errors.Is(err, rpcnet.ErrNotSent) || ctx.Err() != nil {
			break
		}
	}
	return err
}
