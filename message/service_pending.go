package message

import (
	"context"
	"errors"
	"sync"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// maxPending bounds what one call may ask of each shard.
const maxPending = 10_000

// Pending names keys that had a message saved without their comet.
func (s *Service) Pending(args *peer.PendingArgs, reply *peer.PendingReply) (err error) {
	defer rpcnet.Recover("MessageRPC.Pending", &err)
	if args.Limit <= 0 {
		return invalid("limit %d", args.Limit)
	}
	ctx, cancel := s.open(args.Budget)
	defer cancel()
	reply.Keys, err = s.shards.pending(ctx, min(args.Limit, maxPending))
	return failure(err)
}

// Settle takes keys out of the pending sets, but for those that had another
// message since.
func (s *Service) Settle(args *peer.SettleArgs, _ *int) (err error) {
	defer rpcnet.Recover("MessageRPC.Settle", &err)
	ctx, cancel := s.open(args.Budget)
	defer cancel()
	var keys []peer.PendingKey
	for _, k := range args.Keys {
		if peer.CheckKey(k.Key) == nil { // no other was ever pending
			keys = append(keys, k)
		}
	}
	return failure(s.shards.settle(ctx, keys))
}

// pending asks all shards at the same time. One that does not answer is left
// out; the error says that none did.
func (s *shards) pending(ctx context.Context, limit int) ([]peer.PendingKey, error) {
	parts, errs := make([][]peer.PendingKey, len(s.all)), make([]error, len(s.all))
	var wg sync.WaitGroup
	for i, h := range s.all {
		wg.Go(func() {
			defer rpcnet.Recover("message: shard", &errs[i])
			parts[i], errs[i] = ask1(h, reads, func() ([]peer.PendingKey, error) { return h.store.Pending(ctx, limit) })
		})
	}
	wg.Wait()
	var all []peer.PendingKey
	failed := 0
	for i := range parts {
		all = append(all, parts[i]...)
		if errs[i] != nil {
			failed++
		}
	}
	if failed == len(s.all) {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func (s *shards) settle(ctx context.Context, keys []peer.PendingKey) error {
	return errors.Join(spread(s, keys, func(k peer.PendingKey) string { return k.Key }, sameErr,
		func(h *shard, keys []peer.PendingKey) []error {
			_, err := ask1(h, writes, func() (struct{}, error) { return struct{}{}, h.store.Settle(ctx, keys) })
			out := make([]error, len(keys))
			out[0] = err // once is enough
			return out
		})...)
}
