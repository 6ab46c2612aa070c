package comet

import (
	"context"
	"time"

	"github.com/golang/glog"
)

// A comet that stops gives its keys to the others, unless it will be back. With
// drain.keep it holds on to its place: no key moves, and until the comet is back
// what is pushed is stored. In the time that it still has sessions it serves
// them as before. Without it the keys are others' as soon as the node is gone.

// depart takes this comet out of the registry, and then, unless its place is
// kept, takes no key for its own any more. A registry that is away is no reason
// to fail: it takes the comet out when the session expires.
func (s *Server) depart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	s.departing.Store(true)
	if keep := s.keep(); keep > 0 {
		if err := s.member.Withdraw(ctx, s.deps.Now().Add(keep)); err != nil {
			glog.Warningf("comet: place in the ring not kept err=%q", err)
		}
		return
	}
	defer s.draining.Store(true)
	if err := s.member.Leave(ctx); err != nil {
		glog.Warningf("comet: still in the ring, until its session with the registry expires err=%q", err)
	}
}

// noticeTime is how long others may take to hear that this comet has left.
const noticeTime = 500 * time.Millisecond

// giveNotice gives the others the time to hear that this comet has left the ring:
// whom it sends away too soon would be led back here. Meanwhile a client that
// comes is told to ask again.
func (s *Server) giveNotice(ctx context.Context) {
	if !s.draining.Load() || s.stats.open() == 0 {
		return
	}
	t := time.NewTimer(noticeTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// departed counts drain.keep from the moment when everybody is gone, which may
// have taken longer than it.
func (s *Server) departed(ctx context.Context) {
	keep := s.keep()
	if keep == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := s.member.Withdraw(ctx, s.deps.Now().Add(keep)); err != nil {
		glog.Warningf("comet: place in the ring not kept for longer err=%q", err)
	}
}

// leaveTime bounds how long an absent ZooKeeper delays the rest of drain.
const leaveTime = 5 * time.Second

// keep is how long the place in the ring is kept; 0: it is given up.
func (s *Server) keep() time.Duration {
	if s.forGood.Load() {
		return 0
	}
	return s.cfg.Load().Drain.Keep.D()
}
