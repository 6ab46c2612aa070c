package comet

import (
	"context"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
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
	c.hold()
	c.env.stats.fills.Add(1)
	f := &filling{upto: upto, end: time.Now().Add(readTimeout), backoff: backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second}}
	c.readFill(f)
}

// filling is a fill under way.
type filling struct {
	upto    int64
	end     time.Time // then its sessions are ended
	backoff backoff.Backoff
}

func (c *channel) readFill(f *filling) {
	ctx, cancel := context.WithDeadline(context.Background(), f.end)
	c.env.store.read(ctx, peer.ReadItem{Key: c.key, After: c.known, Limit: page}, func(r peer.ReadResult, err error) {
		cancel()
		c.post(filled{f, r, err})
	})
}

// filled brings a page of what was stored in between.
type filled struct {
	*filling
	peer.ReadResult
	err error
}

func (e filled) handle(c *channel) {
	if e.err != nil {
		if wait := e.backoff.Next(); len(c.sessions) > 0 && time.Now().Add(wait).Before(e.end) {
			time.AfterFunc(wait, func() { c.post(again(func(c *channel) { c.readFill(e.filling) })) })
			return
		}
		c.giveUpFill(e.err)
	} else {
		clock := mid.Of(c.env.now())
		for _, m := range e.Msgs {
			if m.Mid > e.upto {
				break
			}
			if !mid.Foreign(m.Mid, clock) {
				c.handOne(&delivery{payload: &payload{msg: m.Msg}, mid: m.Mid, stored: true})
			}
		}
		if len(e.Msgs) < page || e.Msgs[page-1].Mid >= e.upto {
			c.known = max(c.known, e.upto)
		}
	}
	c.filling = false
	c.leaving++
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
	c.hold()
	c.readCatchUp(s, &backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second})
}

func (c *channel) readCatchUp(s *session, b *backoff.Backoff) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	c.env.store.read(ctx, peer.ReadItem{Key: c.key, After: s.upto, Limit: page}, func(r peer.ReadResult, err error) {
		cancel()
		c.post(caughtUp{s, b, r, err})
	})
}

// caughtUp brings a page of what a held session has to be handed.
type caughtUp struct {
	*session
	backoff *backoff.Backoff
	peer.ReadResult
	err error
}

func (e caughtUp) handle(c *channel) {
	s := e.session
	if e.err != nil && !s.ended() { // it stays held, answers heartbeats, and tries again
		time.AfterFunc(e.backoff.Next(), func() { c.post(again(func(c *channel) { c.readCatchUp(s, e.backoff) })) })
		return
	}
	c.leaving++
	s.catching = false
	clock := mid.Of(c.env.now())
	for _, m := range e.Msgs {
		if !mid.Foreign(m.Mid, clock) {
			s.deliver(&delivery{payload: &payload{msg: m.Msg}, mid: m.Mid, stored: true})
		}
	}
	if n := len(e.Msgs); n == page && !mid.Foreign(e.Msgs[n-1].Mid, clock) {
		s.missed = true // there is more
	} else {
		s.upto = max(s.upto, e.Last)
	}
	c.raise(e.Last)
	c.settle(s)
}
