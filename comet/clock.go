package comet

import (
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Clock is what is known of this comet's clock beside those of other daemons.
type Clock interface {
	// Told takes down what another daemon has measured: its clock is ahead of
	// ours by that much.
	Told(name string, ahead time.Duration)
	// Off returns how far ours is ahead of most.
	Off() time.Duration
}

// Clock answers what time it is here, and hears what the caller found last time.
func (v *Service) Clock(args *peer.ClockArgs, reply *peer.ClockReply) (err error) {
	defer rpcnet.Recover("CometRPC.Clock", &err)
	reply.Now = v.s.deps.Now().UnixNano()
	if c := v.s.deps.Clock; c != nil && args.Known {
		c.Told(args.From, args.Ahead())
	}
	return nil
}
