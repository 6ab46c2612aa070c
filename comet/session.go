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
	release  *time.Timer   // ends the hold of live messages
	based    chan struct{} // closed by a turn when the channel knows its base
	greeted  atomic.Bool   // the client may have been told +h, and may fetch

	// The channel's turn owns what follows.

	held     bool        // live messages wait
	due      bool        // the time for which they wait is over
	late     bool        // the base was learned when the client might have fetched already
	missed   bool        // some of what should wait did not fit: read it from the store
	catching bool        // that read is under way
	waiting  []*delivery // while held
	upto     int64       // every stored message up to it was handed to the session, or is none of its business
	sent     int64       // the largest mid it was sent
}

// take hands a live message to the session.
func (s *session) take(d *delivery) {
	switch {
	case !s.held:
		s.deliver(d)
	case s.missed:
		// The read from the store that is to come includes it, if it is stored.
		s.countDropped(d)
	case len(s.waiting) >= s.limits().queue:
		s.missed = true
		for _, w := range append(s.waiting, d) {
			s.countDropped(w)
		}
		s.waiting = nil
	default:
		s.waiting = append(s.waiting, d)
	}
}

func (s *session) countDropped(d *delivery) {
	if !d.stored {
		s.stats.dropped.Add(1)
	}
}

// deliver sends d unless the session has it. One that turns up below another
// that was sent would be dropped by the client. If it is stored the session
// ends, so that the client comes back and fetches.
func (s *session) deliver(d *delivery) {
	switch {
	case d.stored && d.mid <= s.upto:
		return
	case d.stored && d.mid <= s.sent:
		s.end(endOvertaken)
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
