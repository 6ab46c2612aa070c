package comet

import (
	"fmt"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// Weight gives this comet another share of the keys. The value of the file comes
// back with a restart.
func (v *Service) Weight(args *peer.WeightArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Weight", &err)
	if args.Weight < registry.MinWeight || args.Weight > registry.MaxWeight {
		return fmt.Errorf("%w: weight = %d: want %d..%d", peer.ErrInvalid, args.Weight, registry.MinWeight, registry.MaxWeight)
	}
	info := v.s.info
	info.Weight = args.Weight
	glog.Infof("comet: weight changed weight=%d", args.Weight)
	v.s.member.Set(info)
	return nil
}

// Drain makes the comet stop, like SIGTERM, and give its place up whatever
// drain.keep says.
func (v *Service) Drain(_ int, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Drain", &err)
	glog.Infof("comet: asked to drain")
	v.s.forGood.Store(true)
	v.s.stop()
	return nil
}
