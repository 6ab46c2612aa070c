package comet

import (
	"context"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
)

// reading is a read from the store on behalf of a channel, which is tried again
// until it works, nobody wants it any more, or its time is over.
type reading struct {
	item   peer.ReadItem
	end    time.Time                    // of the last try; zero: there is none
	wanted func() bool                  // whether it is worth another try; runs in a turn
	done   func(peer.ReadResult, error) // called once, in a turn
	pause  backoff.Backoff
}

// readTimeout bounds one try, and readWait how long it waits for its turn.
const (
	readTimeout = 2 * time.Second
	readWait    = 10 * time.Second
)

// read starts a reading. It holds the channel until it is done.
func (c *channel) read(r *reading) {
	c.hold()
	r.pause = backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	r.handle(c)
}

// handle makes one try.
func (r *reading) handle(c *channel) {
	end := time.Now().Add(readWait + readTimeout)
	if !r.end.IsZero() && r.end.Before(end) {
		end = r.end
	}
	ctx, cancel := context.WithDeadline(context.Background(), end)
	c.env.store.read(ctx, r.item, func(res peer.ReadResult, err error) {
		cancel()
		c.post(hasRead{r, res, err})
	})
}

// hasRead brings what came of one try.
type hasRead struct {
	*reading
	result peer.ReadResult
	err    error
}

func (e hasRead) handle(c *channel) {
	if e.err != nil && e.wanted() {
		wait := e.pause.Next()
		if !e.end.IsZero() {
			wait = min(wait, time.Until(e.end))
		}
		if wait > 0 {
			if glog.V(1) {
				glog.Infof("comet: read failed, tried again soon key=%q err=%q", c.key, e.err)
			}
			time.AfterFunc(wait, func() { c.post(e.reading) })
			return
		}
	}
	c.leaving++
	e.done(e.result, e.err)
}
