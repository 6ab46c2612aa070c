package message

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/config"
)

// Names of ours in Redis, apart from the messages.
const (
	redisOurs    = "gopush:"
	redisRecord  = "gopush:r:"
	redisTokens  = "gopush:t:"
	redisPending = "gopush:p"
	redisIDs     = "gopush:i:"
	redisWritten = "gopush:w" // is written for the sake of writing
)

const (
	// redisBatch and redisBytes bound one transaction: Redis serves nobody else
	// meanwhile.
	redisBatch = 512
	redisBytes = 4 << 20
)

// redisOptions say how to reach one Redis and what to keep there.
type redisOptions struct {
	Network, Address string
	Password         config.Secret

	Prefix        string // of the names of message sets; empty: old daemons use them too
	Idle, Active  int    // connections
	IdleTimeout   time.Duration
	AllowEviction bool
	Durability    string // Memory, Fsync, Replica
	Newest        int    // messages kept for a key
	Now           func() time.Time
}

// redisStore keeps messages in Redis: a sorted set a key, as old daemons do.
// What belongs together is done by one script (redis_scripts.go).
type redisStore struct {
	redisOptions
	pool   *redis.Pool
	master *master // nil: Address is where it is
	keep   atomic.Int64
}

// openRedis returns a store that connects when it is first used.
func openRedis(o redisOptions) *redisStore {
	s := &redisStore{redisOptions: o}
	if o.Network == sentinelNetwork {
		s.master = newMaster(o.Address, o.Password)
	}
	s.pool = s.newPool()
	s.keep.Store(int64(o.Newest))
	return s
}

// reserved reports whether the messages of key would go by a name of ours.
func (s *redisStore) reserved(key string) bool {
	return strings.HasPrefix(s.Prefix+key, redisOurs) && !strings.HasPrefix(s.Prefix, DefaultRedisPrefix)
}

// run1 runs script once.
func (s *redisStore) run1(ctx context.Context, script *redis.Script, c call) (any, error) {
	replies, err := s.run(ctx, script, []call{c})
	if err != nil {
		return nil, err
	}
	if err, ok := replies[0].(redis.Error); ok {
		return nil, s.failed(err)
	}
	return replies[0], nil
}

// Keep implements store.
func (s *redisStore) Keep(newest int) { s.keep.Store(int64(newest)) }

// Sweep implements store: Redis forgets by itself.
func (s *redisStore) Sweep(context.Context) (bool, error) { return false, nil }

// Close implements store.
func (s *redisStore) Close() error { return s.pool.Close() }

// batched runs script once for each of what, in transactions of bounded size,
// and returns their answers in order. What fails says so by fail.
func batched[T, R any](ctx context.Context, s *redisStore, script *redis.Script, what []T, fail func(error) R,
	key func(T) string, size func(T) int, args func(T, time.Time) call, parse func(reply any) R) []R {
	out := make([]R, len(what))
	var calls []call
	var index []int // of calls in what
	bytes := 0
	flush := func() {
		if len(calls) == 0 {
			return
		}
		replies, err := s.run(ctx, script, calls)
		for n, i := range index {
			if err != nil {
				out[i] = fail(err)
			} else if refused, ok := replies[n].(redis.Error); ok {
				out[i] = fail(fmt.Errorf("key %q: %w", key(what[i]), s.failed(refused)))
			} else {
				out[i] = parse(replies[n])
			}
		}
		calls, index, bytes = calls[:0], index[:0], 0
	}
	for i, w := range what {
		if s.reserved(key(w)) {
			out[i] = fail(errReserved)
			continue
		}
		if len(calls) == redisBatch || bytes+size(w) > redisBytes {
			flush()
		}
		calls, index, bytes = append(calls, args(w, s.Now())), append(index, i), bytes+size(w)
	}
	flush()
	return out
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

var _ store = (*redisStore)(nil)
