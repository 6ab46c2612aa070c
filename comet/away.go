package comet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/peer"
)

// followRing sends away the sessions of keys that the ring gives to others, each
// time it changes, and says when they are gone, until ctx ends.
func (s *Server) followRing(ctx context.Context) error {
	for {
		changed := s.deps.Ring.Changed()
		epoch, root := s.deps.Moves.Epoch(), s.deps.Moves.Root()
		if !s.draining.Load() {
			begun := time.Now()
			if n := s.sendAway(ctx, endNotOwner, func(c *channel) bool { return s.owns(c.key) != nil }); n > 0 {
				glog.Infof("comet: sent the clients of keys that moved elsewhere keys=%d after=%s", n, time.Since(begun).Round(time.Millisecond))
			}
			// With another ring by now, what was found clean says nothing about this one.
			if s.awaitMoved(ctx, changed) && s.deps.Moves.Epoch() == epoch && s.deps.Moves.Root() == root {
				s.tellDone(ctx, changed, epoch, root)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// sendAway ends the sessions of the channels that which names, at the comet's
// pace, and tells those who understand it to ask web again. It returns how many
// channels that were.
func (s *Server) sendAway(ctx context.Context, why reason, which func(*channel) bool) (sent int) {
	s.env.table.each(func(c *channel) bool {
		if which(c) {
			if s.pace.lim.Wait(ctx) != nil {
				return false
			}
			c.hold()
			c.post(ending(func(s *session) { s.sendAway(why) }))
			sent++
		}
		return true
	})
	return sent
}

// awaitMoved waits until nobody is connected to a key of somebody else's, and
// returns false if ctx ends or the ring changes first.
func (s *Server) awaitMoved(ctx context.Context, changed <-chan struct{}) bool {
	tick := time.NewTicker(movedLook)
	defer tick.Stop()
	for {
		clean := true
		s.env.table.each(func(c *channel) bool {
			clean = s.owns(c.key) == nil || c.present.Load() == 0
			return clean
		})
		if clean {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return false
		case <-tick.C:
		}
	}
}

// movedLook is how often a comet looks whether those it sent away are gone.
const movedLook = 100 * time.Millisecond

// tellDone tells every other comet that nobody is connected here to a key of
// theirs in the ring of that epoch. It tries again until each has heard it, is
// out of reach, or the ring changes.
func (s *Server) tellDone(ctx context.Context, changed <-chan struct{}, epoch, root int64) {
	ctx, cancel := context.WithCancel(ctx)
	var watch, tell sync.WaitGroup
	watch.Go(func() {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		cancel()
	})
	args := peer.DoneArgs{Addr: s.info.Addr(), Epoch: epoch, Root: root, High: s.env.table.highest()}
	for _, to := range s.deps.Moves.Others() {
		tell.Go(func() { tellOne(ctx, to, args) })
	}
	tell.Wait()
	cancel()
	watch.Wait()
}

func tellOne(ctx context.Context, to *peer.Comet, args peer.DoneArgs) {
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for refused := 0; refused < doneTries; {
		call, cancel := context.WithTimeout(ctx, forwardTime)
		err := to.Done(call, args)
		cancel()
		switch {
		case err == nil, errors.Is(err, peer.ErrNoMethod):
			return
		case refuses(err):
			refused++
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// doneTries is after how many dials in vain a comet is taken to be gone. Should
// it come back, that is a change of the ring.
const doneTries = 5
