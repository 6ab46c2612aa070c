package comet

import (
	"slices"

	"gopush-cluster/internal/mid"
)

// joining brings a new session, which is held: live messages wait until it is
// released. Its hold lasts until the session leaves.
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
	if e.resumes() {
		c.resume(e.session)
	} else {
		e.upto = c.known
	}
	c.sessions = append(c.sessions, e.session)
	c.present.Store(int32(len(c.sessions)))
	if c.based {
		close(e.based)
	}
	e.joined <- true
}

// resume notes where the client of a new session was. What it has seen may be a
// mid of a message that was not stored, above all that the store knows; what it
// is sent from now on lies above that. A mid that no daemon can have made raises
// nothing.
func (c *channel) resume(s *session) {
	s.behind, s.after = true, s.sub.Mid
	if s.after <= mid.Of(c.env.now())+resumeAhead {
		s.sent = s.after
		c.given = max(c.given, s.after)
	}
}

// resumeAhead is how far the clock of the daemon that made a client's mid may be
// ahead of ours.
const resumeAhead = 10 * mid.Second

// left brings the end of a session.
type left struct{ *session }

func (e left) handle(c *channel) {
	if i := slices.Index(c.sessions, e.session); i >= 0 {
		c.sessions = slices.Delete(c.sessions, i, i+1)
		c.present.Store(int32(len(c.sessions)))
		e.dropWaiting()
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
