package comet

import "gopush-cluster/internal/mid"

// queue gives a message that is not stored its mid and puts it behind what
// waits.
func (c *channel) queue(p *payload) int64 {
	c.given = mid.After(c.given)
	c.waiting = append(c.waiting, &delivery{payload: p, mid: c.given, prev: c.target})
	return c.given
}

// stored takes note of a message that the store gave mid m after prev. d is nil
// if it is not to be sent by itself.
func (c *channel) stored(d *delivery, m, prev int64) {
	if mid.Foreign(m, mid.Of(c.env.now())) {
		return
	}
	// A nonce hit was stored before: a fill hands it out if nobody has yet.
	hit := prev == m
	if !hit {
		c.base(prev)
		c.doubt = nil
	}
	c.raise(m)
	// What does not fit is in the store: the fill finds it there.
	if d != nil && !hit && len(c.waiting) < c.env.limits().queue {
		c.waiting = append(c.waiting, d)
	}
}

// noted brings word of a message that somebody else stored.
type noted struct{ mid int64 }

func (e noted) handle(c *channel) {
	c.strange()
	c.leaving++
	c.stored(nil, e.mid, e.mid)
	c.forwardStored(nil, e.mid, e.mid)
}

// raise takes note of a mid that is surely stored: what the sessions have not
// seen up to it a fill hands them, and what is not stored follows it.
func (c *channel) raise(last int64) {
	c.target = max(c.target, last)
	c.given = max(c.given, last)
}

// hand gives what waits to the sessions, in order, fetching what lies between.
func (c *channel) hand() {
	if c.filling {
		return
	}
	if len(c.sessions) == 0 {
		if c.target > c.known {
			c.strange() // what others stored in between is passed over unseen
		}
		c.waiting = nil
		c.known = max(c.known, c.target) // vacuously: there is nobody to hand it to
		return
	}
	for len(c.waiting) > 0 {
		d := c.waiting[0]
		if d.prev > c.known {
			c.fill(d.prev)
			return
		}
		c.waiting = c.waiting[1:]
		if d.stored && d.mid <= c.known {
			continue
		}
		c.handOne(d)
	}
	c.waiting = nil
	if c.based && c.target > c.known {
		c.fill(c.target)
	}
}

// handOne gives d to every session.
func (c *channel) handOne(d *delivery) {
	if d.stored {
		c.known = d.mid
	}
	if d.expired(c.env.now()) {
		return
	}
	for _, s := range c.sessions {
		s.take(d)
	}
}
