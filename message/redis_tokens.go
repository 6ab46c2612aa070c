package message

import (
	"context"
	"fmt"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/peer"
)

// AddToken implements store.
func (s *redisStore) AddToken(ctx context.Context, t token) error {
	renew := 0
	if t.renew {
		renew = 1
	}
	_, err := s.run1(ctx, scriptTokenAdd, call{redisTokens + t.key, s.Now().Unix(), t.hash, t.expires, renew, tokensKept})
	return err
}

// CheckToken implements store.
func (s *redisStore) CheckToken(ctx context.Context, key, hash string) (peer.TokenReply, error) {
	n, err := redis.Int64s(s.run1(ctx, scriptTokenCheck, call{redisTokens + key, s.Now().Unix(), hash,
		int64(tokenLife.Seconds()), int64(tokenGain.Seconds())}))
	if err != nil {
		return peer.TokenReply{}, err
	}
	if len(n) != 2 {
		return peer.TokenReply{}, fmt.Errorf("%w: token check answered with %d numbers, want 2", peer.ErrFailed, len(n))
	}
	return peer.TokenReply{State: peer.TokenState(n[0]), Expires: n[1]}, nil
}
