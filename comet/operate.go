package comet

import (
	"fmt"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Weight gives this comet another share of the keys. The value of the file comes
// back with a restart.
func (v *Service) Weight(args *peer.WeightArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Weight", &err)
	if args.Weight < minWeight || args.Weight > maxWeight {
		return fmt.Errorf("%w: weight = %d: want %d..%d", peer.ErrInvalid, args.Weight, minWeight, maxWeight)
	}
	info := v.s.info
	info.Weight = args.Weight
	glog.Infof("comet: weight changed weight=%d", args.Weight)
	v.s.member.Set(info)
	return nil
}

// Bounds of a weight.
const (
	minWeight = 1
	maxWeight = 100
)

// Drain makes the comet stop, like SIGTERM, and give its place up whatever
// drain.keep says.
func (v *Service) Drain(_ int, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Drain", &err)
	glog.Infof("comet: asked to drain")
	v.s.forGood.Store(true)
	v.s.stop()
	return nil
}
