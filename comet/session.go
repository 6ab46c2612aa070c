package comet

import (
	"sync/atomic"
	"time"

	"gopush-cluster/internal/wire"
)

// session is one live connection of a key: what its channel knows of it, and the
// outbox through which everything leaves.
type session struct {
	// Set when it is made, then read-only.
	outbox
	sub      wire.Sub
	via      transport
	joinedAt time.Time
	channel  *channel      // which the session holds
	release  *time.Timer   // ends the hold of live messages; nil: the client resumes
	based    chan struct{} // closed by a turn when the channel knows its base
	greeted  atomic.Bool   // the client may have been told +h, and may fetch

	// The channel's turn owns what follows.

	held     bool        // live messages wait
	due      bool        // it may catch up and go live
	behind   bool        // it has to catch up
	missed   bool        // also because some of what should wait did not fit
	catching bool        // a read for it is under way
	idling   bool        // it waits for its outbox to be empty
	waiting  []*delivery // while held
	weight   int         // of waiting: bytes
	after    int64       // what it catches up with lies above it: the client's mid, or one it was told of
	owed     int64       // it has to catch up to here at least
	upto     int64       // every stored message up to it was handed to the session, or is none of its business
	sent     int64       // the largest mid that its client has seen, of any message
}

// resumes reports whether the client said which mid it has seen, and leaves the
// rest to us.
func (s *session) resumes() bool { return s.sub.Mid != wire.NoMid }

// take hands a live message to the session.
func (s *session) take(d *delivery) {
	switch {
	case !s.held:
		s.deliver(d)
	case s.missed:
		// The read from the store that is to come includes it, if it is stored.
		s.countDropped(d)
	case s.overfull(d):
		s.missed = true
		s.countDropped(d)
		s.dropWaiting()
	default:
		s.waiting = append(s.waiting, d)
		s.weighs(s.weigh(d))
	}
}

// dropWaiting forgets what waits.
func (s *session) dropWaiting() {
	for _, d := range s.waiting {
		s.countDropped(d)
	}
	s.waiting = nil
	s.weighs(-s.weight)
}

// weighs adds n bytes to what waits, which counts as what waits in outboxes.
func (s *session) weighs(n int) {
	s.weight += n
	s.stats.queued.Add(int64(n))
}

// overfull reports whether d is too much to wait with the others. No more may
// than fits into an empty outbox.
func (s *session) overfull(d *delivery) bool {
	lim := s.limits()
	switch {
	case len(s.waiting) >= lim.queue:
		return true
	case len(s.waiting) == 0:
		return false
	}
	return s.weight+s.weigh(d) > lim.bytes || s.stats.queued.Load() > lim.total
}

// weigh returns how many bytes d is to this session.
func (s *session) weigh(d *delivery) int {
	if d.gap != nil {
		return 0
	}
	return len(d.frame(s.sub.Old(), s.via))
}

func (s *session) countDropped(d *delivery) {
	if !d.stored && d.gap == nil {
		s.stats.dropped.Add(1)
	}
}

// deliver sends d unless the session has it. One that turns up below another
// that was sent would be dropped by the client. If it is stored the session
// ends, so that the client comes back and fetches, or knows that it has a gap.
func (s *session) deliver(d *delivery) {
	switch {
	case d.gap != nil:
		s.tell(d.gap)
		return
	case d.stored && d.mid <= s.upto:
		return
	case d.stored && d.mid <= s.sent:
		s.overtaken()
		return
	case d.mid <= s.sent:
		s.countDropped(d)
		return
	case d.stored:
		s.upto = d.mid
	}
	s.sent = d.mid
	s.stats.delivered.Add(1)
	s.send(d.frame(s.sub.Old(), s.via))
}

// overtaken ends the session.
func (s *session) overtaken() {
	if s.resumes() {
		s.stats.gaps.Add(1)
		s.finish(endOvertaken, s.gapFrame(wire.Gap{From: s.upto}))
		return
	}
	s.end(endOvertaken)
}

// accepted is the first answer, and the answer to each heartbeat.
func (s *session) accepted() {
	if s.via == overWebSocket {
		s.send(acceptedWS)
	} else {
		s.send(acceptedTCP)
	}
}

// Shared by all sessions; nobody writes to them.
var (
	acceptedTCP = []byte(wire.Accepted)
	acceptedWS  = wire.AppendText(nil, wire.Accepted)
	goAwayTCP   = []byte(wire.WrongNode)
	closedWS    = wire.AppendClose(nil, wire.CloseNormal, "")
	goAwayWS    = wire.AppendClose(nil, wire.CloseRestart, "ask /1/server/get again")
)

// dismiss ends the session without asking the client to come back elsewhere.
func (s *session) dismiss(why reason) {
	if s.via == overWebSocket {
		s.finish(why, closedWS)
	} else {
		s.end(why)
	}
}

// sendAway ends the session after what waits for it, and tells a client that
// understands it to ask web again.
func (s *session) sendAway(why reason) {
	switch {
	case s.via == overWebSocket:
		s.finish(why, goAwayWS)
	case !s.sub.Old():
		s.finish(why, goAwayTCP)
	default:
		s.finish(why, nil)
	}
}
