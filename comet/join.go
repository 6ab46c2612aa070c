package comet

import (
	"slices"

	"gopush-cluster/internal/mid"
)

// joining brings a new session, which is held: live messages wait until release.
// Its hold lasts until the session leaves.
type joining struct {
	*session
	joined chan<- bool // false: the key has as many sessions as it may; buffered
}

func (e joining) handle(c *channel) {
	if len(c.sessions) >= c.env.limits().sessions {
		c.leaving++
		e.joined <- false
		return
	}
	e.held = true
	e.upto = c.known
	c.sessions = append(c.sessions, e.session)
	c.present.Store(int32(len(c.sessions)))
	if c.based {
		close(e.based)
	}
	e.joined <- true
}

// left brings the end of a session.
type left struct{ *session }

func (e left) handle(c *channel) {
	if i := slices.Index(c.sessions, e.session); i >= 0 {
		c.sessions = slices.Delete(c.sessions, i, i+1)
		c.present.Store(int32(len(c.sessions)))
		c.leaving++
	}
}

// ending ends all sessions of the channel, each in the way it is told.
type ending func(*session)

func (end ending) handle(c *channel) {
	c.leaving++
	for _, s := range c.sessions {
		end(s)
	}
}

// released ends the hold of a client that fetches by itself.
type released struct{ *session }

func (e released) handle(c *channel) {
	c.leaving++
	e.due = true
	c.settle(e.session)
}

// settle lets a held session go live once its time has come and the base is
// known.
//
// A base that was learned only after the client could make its fetch may lie
// above messages that this fetch did not see yet. Then the session is given all
// that was stored since shortly before it joined; its client drops what it has.
func (c *channel) settle(s *session) {
	switch {
	case !s.held || s.catching || !s.due || !c.based:
	case s.late:
		s.late = false
		s.upto = min(s.upto, mid.Of(s.joinedAt)-baseAge)
		c.catchUp(s)
	case s.missed:
		c.catchUp(s)
	default:
		c.goLive(s)
	}
}

// goLive hands a session what was held for it.
func (c *channel) goLive(s *session) {
	s.held = false
	now := c.env.now()
	for _, d := range s.waiting {
		if !d.expired(now) {
			s.deliver(d)
		}
	}
	s.waiting = nil
}
