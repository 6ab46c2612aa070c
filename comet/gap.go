package comet

import (
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// gap is word that newer messages have pushed out stored ones, before all
// sessions had them. It goes the way of a message, in its place.
type gap struct {
	trimmed int64 // the largest mid that is gone
	oldest  int64 // the first that is there; 0: none is
}

// oldest returns the mid of the first message that a session may still be sent,
// 0 if there is none.
func oldest(msgs []peer.Stored, clock int64) int64 {
	if len(msgs) == 0 || mid.Foreign(msgs[0].Mid, clock) {
		return 0
	}
	return msgs[0].Mid
}

// tell tells a session that resumes of a gap, if it is one to it. To the others
// it says nothing: they would take it for a message. A client that had nothing
// has missed what went since it came; what was before is none of its business,
// and mids may run a little ahead of the clock.
func (s *session) tell(g *gap) {
	from := max(s.upto, s.after)
	switch {
	case !s.resumes(), g.trimmed <= from:
		return
	case from == 0 && g.trimmed < mid.Of(s.joinedAt)+mid.Second:
		return
	}
	s.after = g.trimmed // told
	s.stats.gaps.Add(1)
	s.send(s.gapFrame(wire.Gap{From: from, Oldest: g.oldest}))
}

func (s *session) gapFrame(g wire.Gap) []byte {
	if s.via == overWebSocket {
		return g.AppendWS(nil)
	}
	return g.AppendTCP(nil)
}
