package message

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/peer"
)

// Pending implements store.
func (s *redisStore) Pending(ctx context.Context, limit int) ([]peer.PendingKey, error) {
	row, err := redis.Strings(s.run1(ctx, scriptPending, call{redisPending, limit}))
	if err != nil {
		return nil, err
	}
	var keys []peer.PendingKey
	for pair := range slices.Chunk(row, 2) {
		if len(pair) < 2 {
			return nil, s.failed(fmt.Errorf("%d values in a reply", len(row)))
		}
		mid, err := strconv.ParseInt(pair[1], 10, 64)
		if err != nil {
			return nil, s.failed(fmt.Errorf("a pending mid: %w", err))
		}
		keys = append(keys, peer.PendingKey{Key: pair[0], Mid: mid})
	}
	return keys, nil
}

// Settle implements store.
func (s *redisStore) Settle(ctx context.Context, keys []peer.PendingKey) error {
	for part := range slices.Chunk(keys, redisBatch) {
		args := call{redisPending}
		for _, k := range part {
			args = append(args, k.Key, decimal(k.Mid))
		}
		if _, err := s.run1(ctx, scriptSettle, args); err != nil {
			return err
		}
	}
	return nil
}
