package comet

import (
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

// page is how many messages one read fetches.
const page = 100

// fill fetches what was stored above known up to upto, and hands it to all
// sessions: somebody else saved in between (web itself, or another comet during
// a move). Nothing later is sent meanwhile.
func (c *channel) fill(upto int64) {
	c.filling = true
	c.strange()
	c.env.stats.fills.Add(1)
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key, After: c.known, Limit: page},
		end:    time.Now().Add(fillTime),
		wanted: func() bool { return len(c.sessions) > 0 },
		done: func(r peer.ReadResult, err error) {
			c.filling = false
			if err != nil {
				c.giveUpFill(err)
				return
			}
			c.filled(r.Msgs, upto)
		},
	})
}

// fillTime is how long the sessions wait for what lies between. Then they end.
const fillTime = 2 * time.Second

// filled hands out a page of what was stored in between.
func (c *channel) filled(msgs []peer.Stored, upto int64) {
	clock := mid.Of(c.env.now())
	for _, m := range msgs {
		if m.Mid > upto {
			break
		}
		if !mid.Foreign(m.Mid, clock) {
			c.handOne(&delivery{payload: &payload{msg: m.Msg}, mid: m.Mid, stored: true})
		}
	}
	if len(msgs) < page || msgs[page-1].Mid >= upto {
		c.known = max(c.known, upto)
	}
}

// giveUpFill ends the sessions, which come back and ask for what they miss:
// sending anything later would hide it from them.
func (c *channel) giveUpFill(err error) {
	glog.Warningf("comet: messages in between could not be fetched, sessions end key=%q sessions=%d err=%q", c.key, len(c.sessions), err)
	for _, s := range c.sessions {
		s.end(endFillFailed)
	}
	c.waiting = nil
	c.known = c.target
}

// catchUp reads for one held session what is stored above the last one that it
// was handed.
func (c *channel) catchUp(s *session) {
	s.catching, s.missed = true, false
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key, After: s.upto, Limit: page},
		wanted: func() bool { return !s.ended() }, // it stays held, and answers heartbeats
		done:   func(r peer.ReadResult, _ error) { c.caughtUp(s, r) },
	})
}

// caughtUp hands a held session a page of what it has missed.
func (c *channel) caughtUp(s *session, r peer.ReadResult) {
	s.catching = false
	clock := mid.Of(c.env.now())
	for _, m := range r.Msgs {
		if !mid.Foreign(m.Mid, clock) {
			s.deliver(&delivery{payload: &payload{msg: m.Msg}, mid: m.Mid, stored: true})
		}
	}
	if n := len(r.Msgs); n == page && !mid.Foreign(r.Msgs[n-1].Mid, clock) {
		s.missed = true // there is more
	} else {
		s.upto = max(s.upto, r.Last)
	}
	c.raise(r.Last)
	c.settle(s)
}
