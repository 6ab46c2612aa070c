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
			c.filled(r, upto)
		},
	})
}

// fillTime is how long the sessions wait for what lies between. Then they end.
const fillTime = 2 * time.Second

// filled hands out a page of what was stored in between. Where some of it was
// pushed out already the sessions go on all the same: there is nothing to wait
// for.
func (c *channel) filled(r peer.ReadResult, upto int64) {
	clock := mid.Of(c.env.now())
	msgs := r.Msgs
	if r.Trimmed > c.known {
		g := &gap{trimmed: r.Trimmed, oldest: oldest(msgs, clock)}
		c.handOne(&delivery{gap: g, mid: max(g.trimmed, g.oldest)})
	}
	for _, m := range msgs {
		if m.Mid > upto {
			break
		}
		if !mid.Foreign(m.Mid, clock) {
			c.handOne(read(m))
		}
	}
	if r.Next == 0 || r.Next >= upto {
		r.Next = upto
	}
	c.known = max(c.known, r.Next)
}

// giveUpFill ends the sessions, which come back for what they miss: sending
// anything later would hide it from them. Those that are held have been sent
// nothing later, and read it themselves when the store is back.
func (c *channel) giveUpFill(err error) {
	glog.Warningf("comet: messages in between could not be fetched, sessions end key=%q sessions=%d err=%q", c.key, len(c.sessions), err)
	for _, s := range c.sessions {
		if s.held {
			s.missed = true
			s.dropWaiting()
			continue
		}
		s.end(endFillFailed)
	}
	c.waiting = nil
	c.known = c.target
}
