package comet

import (
	"context"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// ZooKeeper away is no reason to do anything: the ring stands still and the
// comet goes on. But a comet that is cut off from everything may have lost its
// keys without hearing of it, and clients that stay with it hear nothing. So
// while it has no session with ZooKeeper it asks the others how they see the
// ring; when nobody at all is there for a while it lets its clients go, and
// takes them again when somebody is.

// Peers are the daemons around this comet.
type Peers interface {
	// Connected reports whether there is a session with the registry.
	Connected() bool
	// Ask asks them for the ring, takes over a newer one, and reports whether
	// anybody is there.
	Ask(ctx context.Context) bool
	// Tell is the answer of this comet to such a question.
	Tell() peer.ViewReply
}

const (
	askEvery = 5 * time.Second
	// aloneAfter is how many times in a row nobody is there before clients are
	// let go: 30 s. It counts tries, not time, of which a frozen process loses
	// a lot without having tried.
	aloneAfter = 6
)

// followPeers watches whether anybody is there, until ctx ends.
func (s *Server) followPeers(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		called := s.called.Swap(false)
		if s.deps.Peers.Connected() || s.deps.Peers.Ask(ctx) || called {
			missed = 0
		} else {
			missed++
		}
		switch alone := missed >= aloneAfter; {
		case alone == s.alone.Load():
		case alone:
			glog.Warningf("comet: nobody is there, neither ZooKeeper nor another daemon; sending clients away sessions=%d", s.stats.open())
			s.alone.Store(true)
			sending.Go(func() {
				s.sendAway(ctx, endAlone, func(*channel) bool { return s.alone.Load() })
			})
		default:
			glog.Infof("comet: somebody is there again; taking clients")
			s.alone.Store(false)
			sending.Wait() // it has nobody left to send away
		}
	}
}

// View tells another daemon how this comet sees the ring.
func (v *Service) View(_ int, reply *peer.ViewReply) (err error) {
	defer rpcnet.Recover("CometRPC.View", &err)
	*reply = v.s.deps.Peers.Tell()
	return nil
}
