package comet

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/golang/glog"
	"golang.org/x/time/rate"
)

// drain leaves the ring, waits until others have heard of it, stops accepting,
// sends everybody away at the pace of migrate.rate, or faster where ctx ends
// sooner, and closes. One failing step does not skip the next.
func (s *Server) drain(ctx context.Context, leave context.CancelFunc, web *http.Server) error {
	glog.Infof("comet: draining sessions=%d keep=%s", s.stats.open(), s.keep())
	leave()
	s.depart(ctx)
	s.giveNotice(ctx)
	for _, l := range s.tcp {
		l.Close()
	}
	err := web.Close() // requests that were not upgraded; sessions are not its own
	if err != nil {
		err = fmt.Errorf("comet: close websocket port: %w", err)
	}
	s.greeting.close()
	s.intake.end()
	if end, ok := ctx.Deadline(); ok {
		all := float64(s.stats.open())
		if left := time.Until(end).Seconds() / 2; left > 0 {
			s.pace.hurry(rate.Limit(all / left))
		}
	}
	s.sendAway(ctx, endDrain, func(*channel) bool { return true })
	s.awaitSockets(ctx)
	s.departed(ctx)
	return err
}

// awaitSockets waits until the last client's goroutine has ended. When ctx ends
// first it closes what is left.
func (s *Server) awaitSockets(ctx context.Context) {
	gone := make(chan struct{})
	go func() {
		s.sockets.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return
	case <-ctx.Done():
	}
	glog.Warningf("comet: drain.timeout is over, closing what is left sessions=%d", s.stats.open())
	s.env.table.each(func(c *channel) bool {
		c.hold()
		c.post(ending(func(s *session) { s.end(endDrain) }))
		return true
	})
	<-gone
}
