package message

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/time/rate"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
)

const (
	// shardCalls is how many calls may be waiting for one shard. One that hangs
	// holds no more than these until its breaker has opened.
	shardCalls = 4096
	// shardPing is how long a shard may take for a sign of life, and shardRest
	// the shortest time between two.
	shardPing = time.Second
	shardRest = 100 * time.Millisecond
	// shardSlow is how long a call may take before the shard is pinged: one that
	// hangs is found out before the first calls have given up.
	shardSlow = 500 * time.Millisecond
	// shardCheck is how often a shard without trouble is pinged all the same: its
	// settings may be changed under us, and its master, too.
	shardCheck = time.Minute
	// sweepRest is the pause between two sweeps that found nothing, and sweepMore
	// that after one that found more than it could drop.
	sweepRest = time.Second
	sweepMore = 50 * time.Millisecond
)

// shard is one store, with a breaker before it. A call that the store is slow to
// answer makes it suspect; it is then pinged, and while it does not answer that
// either, calls fail at once instead of waiting for their time to run out.
type shard struct {
	name   string
	weight int
	store  store
	rest   time.Duration // between two sweeps

	suspect  chan struct{} // holds one: ping it
	answered chan struct{} // closed when it has answered for the first time
	state    atomic.Pointer[shardState]
	waiting  atomic.Int64
	sparse   rate.Sometimes
	remind   reminder // while it is down; owned by watch

	calls, failed atomic.Int64 // items
	reading, most atomic.Int64 // keys: read now, and at most at once
}

// shardState is what the last ping found. A nil err: the shard is up.
type shardState struct {
	err   error
	since time.Time
}

var errNotAsked = fmt.Errorf("%w: it has not been asked yet", errUnavailable)

func newShard(name string, weight int, s store) *shard {
	h := &shard{
		name: name, weight: weight, store: s, rest: sweepRest,
		suspect:  make(chan struct{}, 1),
		answered: make(chan struct{}),
		sparse:   rate.Sometimes{First: 1, Interval: time.Second},
	}
	h.state.Store(&shardState{err: errNotAsked, since: time.Now()})
	return h
}

// down returns why calls fail at once, nil while the shard is up. Some of them
// may go on; see enter.
func (h *shard) down() error { return h.state.Load().err }

// watch pings the shard until ctx ends: at once, when it is suspect, and with
// growing pauses while it is down. It fails only for a store that must not be
// used as it is set up.
func (h *shard) watch(ctx context.Context) error {
	pause := backoff.Backoff{Min: shardRest, Max: time.Second}
	for {
		err := h.ping(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errSetup):
			select {
			case <-h.answered: // it was changed under us: a reason to worry, none to fail
				glog.Errorf("message: shard is set up otherwise by now, and may lose messages shard=%s err=%q", h.name, err)
				h.found(nil)
			default:
				return err
			}
		default:
			h.found(err)
		}
		if h.down() != nil {
			if pause.Wait(ctx) != nil {
				return nil
			}
			continue
		}
		pause.Reset()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(shardCheck):
		case <-h.suspect:
			if (&backoff.Backoff{Min: shardRest, Max: shardRest}).Wait(ctx) != nil {
				return nil
			}
		}
	}
}

func (h *shard) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shardPing)
	defer cancel()
	return h.store.Ping(ctx)
}

// found takes over what a ping found, and says so when it is news.
func (h *shard) found(err error) {
	was := h.state.Load()
	if err == nil {
		select {
		case <-h.answered:
		default:
			close(h.answered)
		}
	}
	switch {
	case err == nil && was.err != nil:
		glog.Infof("message: shard up shard=%s after=%v", h.name, time.Since(was.since).Round(time.Millisecond))
	case err != nil && (was.err == nil || was.err == errNotAsked):
		glog.Warningf("message: shard down, its keys fail until it answers shard=%s err=%q", h.name, err)
	case err != nil:
		if h.remind.due(time.Now()) {
			glog.Warningf("message: waiting for a shard shard=%s down=%v tries=%d err=%q", h.name, time.Since(was.since).Round(time.Second), h.remind.tries, err)
		}
		h.state.Store(&shardState{err: err, since: was.since})
		return
	default:
		return
	}
	h.remind = reminder{}
	h.state.Store(&shardState{err: err, since: time.Now()})
}

// tidy sweeps the store until ctx ends.
func (h *shard) tidy(ctx context.Context) error {
	for {
		more, err := h.store.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			h.note(err)
		}
		rest := h.rest
		if more {
			rest = sweepMore
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// use is what a call does with a shard.
type use int

const (
	reads use = iota
	writes
)

// ask lets do carry out what, unless the shard is down or has too much to do.
func ask[T, R any](h *shard, u use, what []T, fail func(error) R, errOf func(R) error, do func([]T) []R) []R {
	h.calls.Add(int64(len(what)))
	if err := h.enter(u); err != nil {
		h.failed.Add(int64(len(what)))
		return failAll(len(what), err, fail)
	}
	defer h.leave()
	defer time.AfterFunc(shardSlow, h.doubt).Stop()
	out := do(what)
	for _, r := range out {
		h.note(errOf(r))
	}
	return out
}

// ask1 is ask for one thing.
func ask1[R any](h *shard, u use, do func() (R, error)) (R, error) {
	type answer struct {
		r   R
		err error
	}
	out := ask(h, u, []struct{}{{}}, func(err error) answer { return answer{err: err} }, func(a answer) error { return a.err },
		func([]struct{}) []answer {
			r, err := do()
			return []answer{{r, err}}
		})
	return out[0].r, out[0].err
}

// read carries out some reads.
func (h *shard) read(ctx context.Context, queries []query) []found {
	n := h.reading.Add(int64(len(queries)))
	defer h.reading.Add(-int64(len(queries)))
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	return h.store.Read(ctx, queries)
}

// serves returns why a call fails at once. One that only reads needs no replica.
func (h *shard) serves(u use) error {
	err := h.down()
	if u == reads && errors.Is(err, errNoReplica) {
		return nil
	}
	return err
}

func (h *shard) enter(u use) error {
	if err := h.serves(u); err != nil {
		return err
	}
	if h.waiting.Add(1) > shardCalls {
		h.waiting.Add(-1)
		return fmt.Errorf("%w: shard %s has %d calls waiting", peer.ErrFailed, h.name, shardCalls)
	}
	return nil
}

func (h *shard) leave() { h.waiting.Add(-1) }

// note counts and logs a failure, and has the shard pinged if it did not answer.
func (h *shard) note(err error) {
	if err == nil || errors.Is(err, peer.ErrInvalid) {
		return
	}
	h.failed.Add(1)
	h.sparse.Do(func() { glog.Warningf("message: call failed shard=%s err=%q", h.name, err) })
	if errors.Is(err, errUnavailable) {
		h.doubt()
	}
}

// doubt has the shard pinged.
func (h *shard) doubt() {
	select {
	case h.suspect <- struct{}{}:
	default: // it will be
	}
}
