package comet

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"syscall"
	"time"

	"gopush-cluster/internal/batch"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// forwards is the way to former owners.
type forwards struct {
	moves Moves

	mu     sync.Mutex
	ways   map[*peer.Comet]*way // guarded by mu
	closed bool                 // guarded by mu
}

// way leads to one former owner: a lane of its own, so that one that hangs
// holds up nobody else's.
type way struct {
	*batch.Lane[forward, peer.ForwardResult]

	// Guarded by forwards.mu.
	open         int       // items under way
	used         time.Time // when an item last ended
	quiet, still time.Time // the first and the last item without an answer, in a row; zero: there is an answer
}

// forward is one item on its way to a former owner.
type forward struct {
	key  string
	body *payload // nil: none
	mid  int64    // 0: not stored
	prev int64
	ends int64 // the expiry of a stored message
}

const (
	// forwardTime bounds one call to a former owner. One that is frozen delays
	// what is not stored by this much, once; a stored message waits for nobody.
	forwardTime  = time.Second
	forwardItems = 256
	forwardBytes = 1 << 20
	forwardQueue = 1 << 14
	// silentTime is after how long without any answer a former owner is not
	// waited for any more. It is told all the same: it may wake up.
	silentTime = 3 * time.Second
	// wayIdle is how long a way that nothing goes is kept.
	wayIdle = time.Minute
)

func newForwards(m Moves) *forwards {
	return &forwards{moves: m, ways: make(map[*peer.Comet]*way)}
}

// send hands f to a former owner and calls done once with the largest mid that
// it has given to anyone. One that is gone has given none.
func (w *forwards) send(to *peer.Comet, f forward, done func(given int64, err error)) {
	way := w.enter(to)
	if way == nil {
		done(0, batch.ErrClosed)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
	way.Submit(ctx, f, func(r peer.ForwardResult, err error) {
		cancel()
		if refuses(err) || errors.Is(err, peer.ErrNoMethod) {
			w.moves.Gone(to)
			err = nil
		}
		w.leave(way, err)
		done(r.Given, err)
	})
}

// refuses reports whether a call was not sent because nobody listens at the
// other end. A dial that takes too long, or fails for a reason of this machine,
// does not say that.
func refuses(err error) bool {
	return errors.Is(err, rpcnet.ErrNotSent) && errors.Is(err, syscall.ECONNREFUSED)
}

// enter returns the way to a comet for one more item, or nil after close.
func (w *forwards) enter(to *peer.Comet) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	if w.ways[to] == nil {
		maps.DeleteFunc(w.ways, func(_ *peer.Comet, old *way) bool {
			return old.open == 0 && time.Since(old.used) >= wayIdle
		})
		w.ways[to] = &way{Lane: batch.New(batch.Options[forward]{
			InFlight: 1, // what is not stored keeps its order
			Items:    forwardItems, Queue: forwardQueue,
			Weight: func(f forward) int { return f.body.bytes() }, MaxWeight: forwardBytes,
		}, func(ctx context.Context, items []forward) ([]peer.ForwardResult, error) {
			return to.Forward(ctx, forwardArgs(items))
		})}
	}
	w.ways[to].open++
	return w.ways[to]
}

// leave takes note of what came of an item.
func (w *forwards) leave(way *way, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	way.open--
	way.used = now
	switch {
	case err == nil:
		way.quiet, way.still = time.Time{}, time.Time{}
	case now.Sub(way.still) > silentTime: // the one before is too long ago to be of the same row
		way.quiet, way.still = now, now
	default:
		way.still = now
	}
}

// silent reports whether a former owner has not answered for long.
func (w *forwards) silent(to *peer.Comet) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	way := w.ways[to]
	return way != nil && way.still.Sub(way.quiet) >= silentTime
}

// close lets what is under way come to its end and takes no more.
func (w *forwards) close() {
	w.mu.Lock()
	w.closed = true
	all := w.ways
	w.ways = nil
	w.mu.Unlock()
	for _, way := range all {
		way.Close()
	}
}

// forwardArgs renders items as one call. Those that share a message share its
// bytes.
func forwardArgs(items []forward) peer.ForwardArgs {
	var a peer.ForwardArgs
	index := map[*payload]int{nil: -1}
	for _, f := range items {
		i, ok := index[f.body]
		if !ok {
			i = len(a.Bodies)
			index[f.body] = i
			a.Bodies = append(a.Bodies, json.RawMessage(f.body.msg))
		}
		a.Items = append(a.Items, peer.ForwardItem{Key: f.key, Body: i, Mid: f.mid, Prev: f.prev, ExpireAt: f.ends})
	}
	return a
}

// bytes is what the message weighs; no message weighs nothing.
func (p *payload) bytes() int {
	if p == nil {
		return 0
	}
	return len(p.msg)
}
