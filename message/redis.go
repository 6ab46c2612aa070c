package message

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
)

// Names of ours in Redis, apart from the messages.
const (
	redisOurs    = "gopush:"
	redisRecord  = "gopush:r:"
	redisTokens  = "gopush:t:"
	redisPending = "gopush:p"
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
	Newest        int // messages kept for a key
	Now           func() time.Time
}

// redisStore keeps messages in Redis: a sorted set a key, as old daemons do.
// What belongs together is done by one script (redis_scripts.go).
type redisStore struct {
	redisOptions
	pool *redis.Pool
	keep atomic.Int64
}

// openRedis returns a store that connects when it is first used.
func openRedis(o redisOptions) *redisStore {
	s := &redisStore{redisOptions: o, pool: o.newPool()}
	s.keep.Store(int64(o.Newest))
	return s
}

// reserved reports whether the messages of key would go by a name of ours.
func (s *redisStore) reserved(key string) bool {
	return strings.HasPrefix(s.Prefix+key, redisOurs) && !strings.HasPrefix(s.Prefix, DefaultRedisPrefix)
}

// Save implements store.
func (s *redisStore) Save(ctx context.Context, items []item) []saved {
	return batched(ctx, s, scriptSave, items, savedErr,
		func(it item) string { return it.key },
		func(it item) int { return len(it.msg.Body) },
		func(it item, now time.Time) call {
			clock := mid.Of(now)
			blind, known, pending := int64(0), decimal(max(it.known, 0)), ""
			if it.floor == mid.Unknown {
				blind = mid.Blind
			}
			if it.retry {
				known = ""
			}
			if it.pending {
				pending = it.key
			}
			return append(s.head(it.key, 3, now),
				decimal(it.least(clock)), blind, known, it.msg.Nonce, it.msg.Expires, msg.MemberTail(it.msg),
				pending, decimal(clock-int64(pendingKept.Seconds())*mid.Second))
		},
		func(reply any) saved {
			n, err := redis.Int64s(reply, nil)
			if err == nil && len(n) != 2 {
				err = fmt.Errorf("%d numbers", len(n))
			}
			if err != nil {
				return saved{err: s.failed(err)}
			}
			return saved{mid: n[0], prev: n[1]}
		})
}

// Put implements store.
func (s *redisStore) Put(ctx context.Context, items []item) []error {
	return batched(ctx, s, scriptPut, items, sameErr,
		func(it item) string { return it.key },
		func(it item) int { return len(it.msg.Body) },
		func(it item, now time.Time) call {
			return append(s.head(it.key, 2, now), decimal(it.msg.Mid), it.msg.Expires, msg.MemberTail(it.msg))
		},
		func(reply any) error {
			switch n, err := redis.Int(reply, nil); {
			case err != nil:
				return s.failed(err)
			case n == 0:
				return errMidTaken
			}
			return nil
		})
}

// head returns the keys and arguments with which the scripts that keep a
// message begin.
func (s *redisStore) head(key string, keys int, now time.Time) call {
	volatile := 1
	if s.Prefix == "" {
		volatile = 0
	}
	names := call{s.Prefix + key, redisRecord + key, redisPending}
	return append(names[:keys:keys], now.Unix(), decimal(near(mid.Of(now))), s.keep.Load(), int64(recordKept.Seconds()), volatile)
}

// Read implements store.
func (s *redisStore) Read(ctx context.Context, queries []query) []found {
	return batched(ctx, s, scriptRead, queries, foundErr,
		func(q query) string { return q.key },
		func(query) int { return 0 },
		func(q query, now time.Time) call {
			return call{s.Prefix + q.key, redisRecord + q.key, now.Unix(), decimal(near(mid.Of(now))), decimal(max(q.after, 0)), max(q.limit, 0)}
		},
		s.parseFound)
}

// parseFound reads what read.lua returns. A member that cannot be read is left
// out: nobody else could read it either, and the key's other messages are fine.
func (s *redisStore) parseFound(reply any) found {
	vals, err := redis.ByteSlices(reply, nil)
	if err != nil {
		return found{err: s.failed(err)}
	}
	nums := make([]int64, 0, len(vals))
	for i, v := range vals {
		if i >= 2 && i%2 == 0 {
			continue // a member; its mid follows
		}
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return found{err: s.failed(fmt.Errorf("a mid: %w", err))}
		}
		nums = append(nums, n)
	}
	if len(vals)%2 != 0 || len(vals) < 2 {
		return found{err: s.failed(fmt.Errorf("%d values in a reply", len(vals)))}
	}
	f := found{last: nums[0], trimmed: nums[1]}
	for i := 2; i < len(vals); i += 2 {
		m, err := msg.ParseMember(vals[i], nums[1+i/2])
		if err != nil {
			glog.Warningf("message: unreadable member left out shard=%s mid=%d bytes=%d", s.Address, nums[1+i/2], len(vals[i]))
			continue
		}
		f.msgs = append(f.msgs, m)
	}
	return f
}

// Delete implements store.
func (s *redisStore) Delete(ctx context.Context, key string) error {
	if s.reserved(key) {
		return errReserved
	}
	now := s.Now()
	_, err := s.run1(ctx, scriptDelete, call{s.Prefix + key, redisRecord + key, now.Unix(), decimal(near(mid.Of(now))), int64(recordKept.Seconds())})
	return err
}

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

// Ping implements store. It comes over a connection of its own, and refuses a
// Redis that may throw away what it has acknowledged.
func (s *redisStore) Ping(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return s.failed(err)
	}
	defer c.Close()
	info, err := redis.Bytes(c.Do("INFO", "memory"))
	if err != nil {
		return s.failed(err)
	}
	_, policy, ok := bytes.Cut(info, []byte("\nmaxmemory_policy:"))
	policy, _, _ = bytes.Cut(policy, []byte("\r"))
	if ok && string(policy) != "noeviction" && !s.AllowEviction {
		return fmt.Errorf("%w: redis %s has maxmemory-policy %s and would drop stored messages when it is full; "+
			"set it to noeviction, or allow it with redis.allow_eviction = true", errEviction, s.Address, policy)
	}
	return nil
}

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
