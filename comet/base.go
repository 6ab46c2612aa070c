package comet

import (
	"slices"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

// askBase asks for the last mid of the key once somebody is there to whom it
// matters. The answer of a save serves as well: it tells the last one before. So
// does what is read for a session that resumes.
func (c *channel) askBase() {
	if c.based || c.basing || c.saving || len(c.sessions) == 0 {
		return
	}
	if c.canBase() && slices.ContainsFunc(c.sessions, (*session).willRead) {
		return
	}
	c.basing = true
	if !c.askFormer(nil, c.readBase) {
		c.readBase()
	}
}

// willRead reports whether something is about to be read for a session that
// resumes, or being read. One whose socket is busy may take its time.
func (s *session) willRead() bool {
	return s.resumes() && (s.catching || s.behind && !s.idling && !s.ended())
}

func (c *channel) readBase() {
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key},
		wanted: func() bool { return len(c.sessions) > 0 && !c.based },
		done: func(r peer.ReadResult, err error) {
			c.basing = false
			if err == nil && c.canBase() {
				c.base(r.Last)
			}
		},
	})
}

// canBase reports whether the last mid in the store is the base of this channel.
// With a save under way, it may be that very save's, which nobody has been handed
// yet; its answer tells what was before it. Former owners are asked first.
func (c *channel) canBase() bool {
	return !c.based && !c.saving && (c.asked || len(c.env.moves.Former(c.key)) == 0)
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
		greeted := s.greeted.Load()
		close(s.based) // which lets its client fetch, if nothing has yet
		if s.resumes() {
			// What it has read may be from before all of this was stored.
			s.owed = last
			s.behind = s.behind || !s.catching && s.upto < last
		} else {
			s.upto = c.known
			// The fetch may be over, and not have seen all that is stored up to
			// the base: then it is given what was stored since shortly before it
			// joined, and its client drops what it has.
			if s.behind = greeted; greeted {
				s.upto = min(s.upto, mid.Of(s.joinedAt)-baseAge)
			}
		}
		c.settle(s)
	}
}

// baseAge is how far below the clock the first mid that is not stored lies:
// below anything that a daemon whose clock is off by a minute may still save.
const baseAge = 120 * mid.Second
