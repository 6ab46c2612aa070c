package comet

import (
	"time"

	"gopush-cluster/internal/peer"
)

// doubt is what a save leaves behind that failed and may have been carried out
// all the same: it may have taken the very mid that comes next. Until the store
// has told its last mid, what is not stored gets none. A store that stays away
// holds it up for doubtTime only.
type doubt struct {
	end   time.Time
	asked bool
}

// doubtTime leaves a push that waits for it some of its own time, and outlasts
// web's pause before it repeats the save.
const doubtTime = time.Second

// doubts begins a doubt. An older one is over: what its read tells may be from
// before.
func (c *channel) doubts() {
	c.doubt = &doubt{end: time.Now().Add(doubtTime)}
}

// askLast asks for the last mid of the key while there is a doubt that matters
// to somebody. The answer of a save serves as well: see stored.
func (c *channel) askLast() {
	d := c.doubt
	if d == nil || d.asked || c.saving || len(c.sessions) == 0 {
		return
	}
	d.asked = true
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key},
		end:    d.end,
		wanted: func() bool { return c.doubt == d },
		done: func(r peer.ReadResult, err error) {
			if err == nil {
				c.raise(r.Last)
			}
			if c.doubt == d {
				c.doubt = nil
			}
		},
	})
}
