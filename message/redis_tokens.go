package message

import (
	"context"

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
func (s *redisStore) CheckToken(ctx context.Context, key, hash string) (peer.TokenState, error) {
	n, err := redis.Int(s.run1(ctx, scriptTokenCheck, call{redisTokens + key, s.Now().Unix(), hash,
		int64(tokenLife.Seconds()), int64(tokenGain.Seconds())}))
	if err != nil {
		return peer.TokenNone, err
	}
	return peer.TokenState(n), nil
}
