package comet

import (
	"slices"

	"gopush-cluster/internal/peer"
)

// pushesWaiting bounds the pushes of one key that wait for its store. Further
// ones fail at once.
const pushesWaiting = 4096

// pushed brings a new push. Its hold lasts until it is answered.
type pushed struct{ *push }

func (e pushed) handle(c *channel) {
	if len(c.pushes) >= pushesWaiting {
		c.env.stats.failed.Add(1)
		e.refuse(peer.Failed)
		c.leaving++
		return
	}
	c.env.retries.mark(e.push, c.env.now())
	c.pushes = append(c.pushes, e.push)
}

// woken makes the channel look again: a caller has given up.
type woken struct{}

func (woken) handle(c *channel) { c.leaving++ }

// pump works on the pushes at the head of the queue until it has to wait.
func (c *channel) pump() {
	if c.saving {
		return
	}
	c.forget()
	for !c.saving && len(c.pushes) > 0 {
		p := c.pushes[0]
		switch {
		case p.expireAt > 0:
			c.save()
		case !c.handing && !p.handed && c.handOn(p):
			c.handing = true
		case c.handing && c.storedFirst():
			c.save() // which waits for nobody
		case c.handing:
			return
		case len(c.sessions) == 0:
			c.pop(1)
			p.refuse(peer.OK) // reached everybody: there is nobody
		case c.based && c.doubt == nil:
			c.pop(1)
			c.give(p)
		case c.storedFirst():
			c.save() // which tells what p waits for
		default:
			return // it waits for the store, within its own time
		}
	}
	if len(c.pushes) == 0 {
		c.pushes = nil
	}
}

// storedFirst puts the pushes that are to be stored before the others, and
// reports whether there are any. They are all under way at the same time, so
// that none of their callers can tell.
func (c *channel) storedFirst() bool {
	later := func(p *push) int {
		if p.expireAt > 0 {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(c.pushes, func(a, b *push) int { return later(a) - later(b) })
	return c.pushes[0].expireAt > 0
}

// forget drops the pushes whose callers have given up. They may have been saved
// another way by now, and a save looks for its nonce above known only.
func (c *channel) forget() {
	n := len(c.pushes)
	c.pushes = slices.DeleteFunc(c.pushes, (*push).abandoned)
	c.leaving += n - len(c.pushes)
}

// pop removes n pushes from the head of the queue.
func (c *channel) pop(n int) {
	clear(c.pushes[:n])
	c.pushes = c.pushes[n:]
	c.leaving += n
}

// give hands out a message that is not stored: its mid follows the largest one
// that anybody here was given, so that it leaves room for what is stored next.
func (c *channel) give(p *push) {
	if len(c.waiting) >= c.env.limits().queue {
		c.env.stats.dropped.Add(1)
		p.refuse(peer.Failed)
		return
	}
	if !p.claim() {
		return
	}
	m := c.queue(p.payload)
	c.hand()
	p.answer(peer.PushResult{Mid: m})
}
