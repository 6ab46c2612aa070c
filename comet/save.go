package comet

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/golang/glog"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// store is how channels reach the message daemons; see lanes.
type store interface {
	// save stores the pushes of one key in their order and calls done once.
	save(r *run, done func([]peer.SaveResult, error))
	// read fetches what is stored of a key and calls done once.
	read(ctx context.Context, item peer.ReadItem, done func(peer.ReadResult, error))
}

// run is the pushes of one key that are saved together.
type run struct {
	ctx    context.Context // of the most patient of them
	key    string
	floor  int64
	ring   int64 // when it was begun
	known  int64 // nonces are looked for above it
	pushes []*push
}

// bytes is what the messages of r weigh.
func (r *run) bytes() int {
	n := 0
	for _, p := range r.pushes {
		n += len(p.msg)
	}
	return n
}

// Bounds of a run. What comes after waits for the next one.
const (
	runPushes = 64
	runBytes  = 1 << 20
)

// save sends the pushes with an expiry at the head of the queue to the store.
func (c *channel) save() {
	r := &run{key: c.key, floor: c.given, known: c.searched()}
	if r.ring = c.env.moves.Epoch(); c.handing || c.sure != r.ring {
		r.floor = mid.AtLeast(c.given) // former owners may have given more
	}
	bytes := 0
	for _, p := range c.pushes {
		if p.expireAt == 0 || len(r.pushes) == runPushes || (bytes > 0 && bytes+len(p.msg) > runBytes) {
			break
		}
		bytes += len(p.msg)
		r.pushes = append(r.pushes, p)
		r.ctx = later(r.ctx, p.call.ctx)
	}
	c.saving = true
	c.hold()
	c.env.store.save(r, func(results []peer.SaveResult, err error) { c.post(saved{r, results, err}) })
}

// later returns the context with the later deadline.
func later(a, b context.Context) context.Context {
	if a == nil {
		return b
	}
	endA, okA := a.Deadline()
	endB, okB := b.Deadline()
	if okA && (!okB || endB.After(endA)) {
		return b
	}
	return a
}

// saved brings the store's answer to a run.
type saved struct {
	*run
	results []peer.SaveResult
	err     error
}

func (e saved) handle(c *channel) {
	c.saving = false
	c.leaving++
	c.pop(len(e.pushes))
	if e.err != nil {
		c.env.trouble.Do(func() {
			glog.Warningf("comet: save failed key=%q pushes=%d err=%q", c.key, len(e.pushes), e.err)
		})
	}
	answer := make([]func(), 0, len(e.pushes))
	saved := int64(0) // the largest mid
	for i, p := range e.pushes {
		switch {
		case e.err != nil:
			c.env.stats.failed.Add(1)
			p.refuse(peer.Failed)
			if !errors.Is(e.err, rpcnet.ErrNotSent) {
				c.doubts()
			}
		case e.results[i].Code != peer.OK:
			c.env.stats.failed.Add(1)
			p.refuse(e.results[i].Code)
			if e.results[i].Code == peer.Failed {
				c.doubts()
			}
		default:
			c.env.stats.saved.Add(1)
			r := e.results[i]
			var d *delivery
			if p.claim() {
				d = &delivery{payload: p.payload, mid: r.Mid, prev: r.Prev, stored: true, expires: p.expireAt}
				answer = append(answer, func() { p.answer(peer.PushResult{Mid: r.Mid}) })
			}
			c.stored(d, r.Mid, r.Prev)
			if r.Mid != r.Prev { // above whatever former owners had given
				c.sure = e.ring
			}
			if d != nil {
				c.forwardStored(d, r.Mid, r.Prev)
			}
			saved = max(saved, r.Mid)
		}
	}
	c.hand() // written to the sockets first, or waiting for a fill, which nobody else waits for
	for _, f := range answer {
		f()
	}
	if saved > 0 && c.env.owns(c.key) != nil { // it moved meanwhile, and its new owner may not know
		c.env.handOver(c.key, saved)
	}
}

// saveArgs renders runs as one call. Pushes that share a message share its bytes.
func saveArgs(runs []*run) peer.SaveArgs {
	var a peer.SaveArgs
	body := make(map[*payload]int)
	for _, r := range runs {
		for _, p := range r.pushes {
			i, ok := body[p.payload]
			if !ok {
				i = len(a.Bodies)
				body[p.payload] = i
				a.Bodies = append(a.Bodies, json.RawMessage(p.msg))
			}
			a.Items = append(a.Items, peer.SaveItem{
				Key: r.key, Body: i, ExpireAt: p.expireAt, Nonce: p.nonce,
				Floor: r.floor, Known: r.known, Retry: p.retry, Named: p.named,
			})
		}
	}
	return a
}
