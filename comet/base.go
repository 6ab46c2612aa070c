package comet

import (
	"context"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

// askBase asks for the last mid of the key once somebody is there to whom it
// matters. The answer of a save serves as well: it tells the last one before.
func (c *channel) askBase() {
	if c.based || c.basing || c.saving || len(c.sessions) == 0 {
		return
	}
	c.basing = true
	c.hold()
	if !c.askFormer(nil, func(given int64) event { return furthest{given} }) {
		c.readBase(newBaseBackoff())
	}
}

// furthest brings how far former owners are with the key, before its base is
// read.
type furthest struct{ given int64 }

func (e furthest) handle(c *channel) {
	c.leaving++
	c.given, c.asked = max(c.given, e.given), true
	c.readBase(newBaseBackoff())
}

func newBaseBackoff() *backoff.Backoff {
	return &backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
}

func (c *channel) readBase(b *backoff.Backoff) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	c.env.store.read(ctx, peer.ReadItem{Key: c.key}, func(r peer.ReadResult, err error) {
		cancel()
		c.post(baseRead{last: r.Last, err: err, backoff: b})
	})
}

// readTimeout bounds one read. What fails is tried again with back-off.
const readTimeout = 2 * time.Second

// baseRead brings the last mid that the store holds.
type baseRead struct {
	last    int64
	err     error
	backoff *backoff.Backoff
}

func (e baseRead) handle(c *channel) {
	switch {
	case e.err != nil && len(c.sessions) > 0 && !c.based:
		if glog.V(1) {
			glog.Infof("comet: base not learned key=%q err=%q", c.key, e.err)
		}
		time.AfterFunc(e.backoff.Next(), func() { c.post(again(func(c *channel) { c.readBase(e.backoff) })) })
		return
	case e.err == nil && !c.saving:
		// With a save under way, last may be that very save's mid, which nobody
		// has been handed yet. Its answer tells what was before it.
		c.base(e.last)
	}
	c.basing = false
	c.leaving++
}

// base learns the last mid that the store holds.
func (c *channel) base(last int64) {
	if c.based {
		return
	}
	c.based = true
	c.known = last
	now := mid.Of(c.env.now())
	if last > now-baseAge {
		c.strange() // whoever stored it
	}
	c.given = max(c.given, now-baseAge)
	c.raise(last)
	for _, s := range c.sessions {
		s.upto = c.known
		s.late = s.greeted.Load()
		close(s.based)
		c.settle(s)
	}
}

// baseAge is how far below the clock the first mid that is not stored lies:
// below anything that a daemon whose clock is off by a minute may still save.
const baseAge = 120 * mid.Second
