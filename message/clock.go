package message

import (
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Clock is what is known of this daemon's clock beside those of others.
type Clock interface {
	// Told takes down what another daemon has measured: its clock is ahead of
	// ours by that much.
	Told(name string, ahead time.Duration)
	// Off returns how far ours is ahead of most.
	Off() time.Duration
}

// Clock answers what time it is here, and hears what the caller found last time.
func (s *Service) Clock(args *peer.ClockArgs, reply *peer.ClockReply) (err error) {
	defer rpcnet.Recover("MessageRPC.Clock", &err)
	reply.Now = s.now().UnixNano()
	if s.clock != nil && args.Known {
		s.clock.Told(args.From, args.Ahead())
	}
	return nil
}
