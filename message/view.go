package message

import (
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// View tells a comet that is cut off from ZooKeeper how this daemon sees the
// ring.
func (s *Service) View(_ int, reply *peer.ViewReply) (err error) {
	defer rpcnet.Recover("MessageRPC.View", &err)
	if s.view != nil {
		*reply = s.view()
	}
	return nil
}
