package comet

import (
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
	if !c.askFormer(nil, c.readBase) {
		c.readBase()
	}
}

func (c *channel) readBase() {
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key},
		wanted: func() bool { return len(c.sessions) > 0 && !c.based },
		done: func(r peer.ReadResult, err error) {
			c.basing = false
			// With a save under way, the last mid may be that very save's, which
			// nobody has been handed yet. Its answer tells what was before it.
			if err == nil && !c.saving {
				c.base(r.Last)
			}
		},
	})
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
