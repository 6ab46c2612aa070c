package comet

import (
	"context"
	"time"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
)

// doubt is what a save leaves behind that failed and may have been carried out
// all the same: it may have taken the very mid that comes next. Until the store
// has told its last mid, what is not stored gets none. A store that stays away
// holds it up for doubtTime only.
type doubt struct {
	end     time.Time
	asked   bool
	backoff backoff.Backoff
}

// doubtTime leaves a push that waits for it some of its own time, and outlasts
// web's pause before it repeats the save.
const doubtTime = time.Second

// doubts begins a doubt. An older one is over: what its read tells may be from
// before.
func (c *channel) doubts() {
	c.doubt = &doubt{
		end:     time.Now().Add(doubtTime),
		backoff: backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second},
	}
}

// askLast asks for the last mid of the key while there is a doubt that matters
// to somebody. The answer of a save serves as well: see stored.
func (c *channel) askLast() {
	if c.doubt == nil || c.doubt.asked || c.saving || len(c.sessions) == 0 {
		return
	}
	c.doubt.asked = true
	c.hold()
	c.readLast(c.doubt)
}

func (c *channel) readLast(d *doubt) {
	ctx, cancel := context.WithDeadline(context.Background(), d.end)
	c.env.store.read(ctx, peer.ReadItem{Key: c.key}, func(r peer.ReadResult, err error) {
		cancel()
		c.post(lastRead{d, r.Last, err})
	})
}

// lastRead brings the last mid that the store holds.
type lastRead struct {
	*doubt
	last int64
	err  error
}

func (e lastRead) handle(c *channel) {
	if wait := min(e.backoff.Next(), time.Until(e.end)); e.err != nil && wait > 0 && c.doubt == e.doubt {
		time.AfterFunc(wait, func() { c.post(again(func(c *channel) { c.readLast(e.doubt) })) })
		return
	}
	c.leaving++
	if e.err == nil {
		c.raise(e.last)
	}
	if c.doubt == e.doubt {
		c.doubt = nil
	}
}
