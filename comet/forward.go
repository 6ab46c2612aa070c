package comet

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"gopush-cluster/internal/batch"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// forwards is the way to former owners: one lane each, so that one that hangs
// holds up nobody else's.
type forwards struct {
	moves Moves

	mu     sync.Mutex
	lanes  map[*peer.Comet]*batch.Lane[forward, peer.ForwardResult] // guarded by mu
	closed bool                                                     // guarded by mu
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
)

func newForwards(m Moves) *forwards {
	return &forwards{moves: m, lanes: make(map[*peer.Comet]*batch.Lane[forward, peer.ForwardResult])}
}

// send hands f to a former owner and calls done once with the largest mid that
// it has given to anyone. One that cannot be reached has given none.
func (w *forwards) send(to *peer.Comet, f forward, done func(given int64, err error)) {
	lane := w.lane(to)
	if lane == nil {
		done(0, batch.ErrClosed)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
	lane.Submit(ctx, f, func(r peer.ForwardResult, err error) {
		cancel()
		if errors.Is(err, rpcnet.ErrNotSent) || errors.Is(err, peer.ErrNoMethod) {
			w.moves.Gone(to)
			err = nil
		}
		done(r.Given, err)
	})
}

// lane returns the lane to a comet, or nil after close.
func (w *forwards) lane(to *peer.Comet) *batch.Lane[forward, peer.ForwardResult] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	lane := w.lanes[to]
	if lane == nil {
		lane = batch.New(batch.Options[forward]{
			InFlight: 1, // what is not stored keeps its order
			Items:    forwardItems, Queue: forwardQueue,
			Weight: func(f forward) int { return f.body.bytes() }, MaxWeight: forwardBytes,
		}, func(ctx context.Context, items []forward) ([]peer.ForwardResult, error) {
			return to.Forward(ctx, forwardArgs(items))
		})
		w.lanes[to] = lane
	}
	return lane
}

// close lets what is under way come to its end and takes no more.
func (w *forwards) close() {
	w.mu.Lock()
	w.closed = true
	all := w.lanes
	w.lanes = nil
	w.mu.Unlock()
	for _, lane := range all {
		lane.Close()
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
