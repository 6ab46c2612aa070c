package comet

import (
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

// A session is held before it goes live, and what is pushed meanwhile waits. It
// catches up if something that is stored must reach it first: all above the mid
// that its client gave (it resumes), what its client's own fetch may not have
// seen, or what did not fit with what waits.
//
//	join, held ─┬─ resumes: after +h ────────┬─▶ catch up, a page at a time ─▶ go live
//	            └─ fetches: after legacy.hold ┘        ▲          │
//	                                                   └──────────┘ more, or too much waits

// released begins what a session was held for: a client that resumes was
// accepted, or one that fetches by itself has had its time.
type released struct{ *session }

func (e released) handle(c *channel) {
	c.leaving++
	e.due = true
	c.settle(e.session)
}

// settle lets a held session catch up, and then go live. Either writes to its
// socket what is in hand, so it waits until nothing else does: however much a
// client has missed, it never has to take more at once than an outbox holds.
//
// To go live the base has to be known. A read for a session that resumes tells
// it.
func (c *channel) settle(s *session) {
	switch {
	case !s.held || s.catching || s.idling || !s.due || s.ended():
	case !c.based && !(s.resumes() && s.behind):
	case !c.idle(s):
	case s.behind || s.missed:
		c.catchUp(s)
	default:
		c.goLive(s)
	}
}

// idle reports whether nothing waits in the session's outbox. If something does,
// the session is settled when it has left.
func (c *channel) idle(s *session) bool {
	c.hold()
	s.idling = !s.whenIdle(func() { c.post(idled{s}) })
	if !s.idling {
		c.leaving++
	}
	return !s.idling
}

// idled brings word that a session's outbox is empty.
type idled struct{ *session }

func (e idled) handle(c *channel) {
	c.leaving++
	e.idling = false
	c.settle(e.session)
}

// catchUp reads for one held session a page of what it has missed.
func (c *channel) catchUp(s *session) {
	s.catching, s.behind, s.missed = true, false, false
	s.after = max(s.after, s.upto)
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key, After: s.after, Limit: page},
		wanted: func() bool { return !s.ended() }, // it stays held, and answers heartbeats
		done:   func(r peer.ReadResult, err error) { c.caughtUp(s, r, err) },
	})
}

// caughtUp hands a session what was read for it, as far as its outbox takes it.
func (c *channel) caughtUp(s *session, r peer.ReadResult, err error) {
	s.catching = false
	if err != nil {
		return // it is over
	}
	clock := mid.Of(c.env.now())
	switch {
	case s.after <= r.Last:
		s.sent = max(s.sent, s.after)
	case s.after > s.sent: // nobody has given it
		s.after = r.Last
	}
	s.tell(&gap{trimmed: r.Trimmed, oldest: oldest(r.Msgs, clock)})
	switch {
	case !s.handPage(r.Msgs, clock, c.env.now()):
		s.behind = true
	case r.Next != 0 && !mid.Foreign(r.Next, clock):
		s.behind, s.after = true, max(s.after, r.Next)
	default:
		s.upto = max(s.upto, r.Last)
		s.behind = s.upto < s.owed // the read is from before that was stored
		s.owed = 0
	}
	if c.canBase() {
		c.base(r.Last)
	}
	c.raise(r.Last)
	c.settle(s)
}

// handPage hands the session a page from the store, and in between what waits and
// lies before it: the part of that which is not stored would be too late later.
// It reports whether the outbox took all of it.
func (s *session) handPage(msgs []peer.Stored, clock int64, now time.Time) bool {
	for len(msgs) > 0 {
		if mid.Foreign(msgs[0].Mid, clock) {
			return true
		}
		d := read(msgs[0])
		waits := len(s.waiting) > 0 && s.waiting[0].mid < d.mid
		if waits {
			d = s.waiting[0]
		}
		switch {
		case !s.room(s.weigh(d)):
			return false
		case waits:
			s.waiting = s.waiting[1:]
			s.weighs(-s.weigh(d))
		default:
			msgs = msgs[1:]
		}
		if !d.expired(now) {
			s.deliver(d)
		}
	}
	return true
}

// goLive hands a session what was held for it.
func (c *channel) goLive(s *session) {
	s.held = false
	now := c.env.now()
	for _, d := range s.waiting {
		s.weighs(-s.weigh(d)) // it moves to the outbox
		if !d.expired(now) {
			s.deliver(d)
		}
	}
	s.waiting = nil
}
