package message

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/golang/glog"
	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

// Save implements store.
func (s *redisStore) Save(ctx context.Context, items []item) []saved {
	return batched(ctx, s, scriptSave, items, savedErr,
		func(it item) string { return it.key },
		func(it item) int { return len(it.msg.Body) },
		func(it item, now time.Time) call {
			clock := mid.Of(now)
			blind, known, pending := int64(0), decimal(max(it.known, 0)), ""
			if _, more := mid.Known(it.floor); more {
				blind = mid.Blind
			}
			if it.everywhere() {
				known = ""
			}
			if it.pending {
				pending = it.key
			}
			id, hash := "", ""
			if it.named { // no nonce holds a colon, so nobody's key makes this another's
				id, hash = redisIDs+it.msg.Nonce+":"+it.key, hex.EncodeToString(bodyHash(it.msg.Body))
			}
			return append(s.head(it.key, 3, now, id),
				decimal(it.least(clock)), blind, known, it.msg.Nonce, it.msg.Expires, msg.MemberTail(it.msg),
				pending, decimal(clock-int64(pendingKept.Seconds())*mid.Second), hash, int64(idKept.Seconds()))
		},
		func(reply any) saved {
			n, err := redis.Int64s(reply, nil)
			if err == nil && len(n) != 2 {
				err = fmt.Errorf("%d numbers", len(n))
			}
			switch {
			case err != nil:
				return saved{err: s.failed(err)}
			case n[0] == 0:
				return saved{err: errIDTaken}
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
// message begin. further are keys behind the first ones.
func (s *redisStore) head(key string, keys int, now time.Time, further ...any) call {
	volatile := 1
	if s.Prefix == "" {
		volatile = 0
	}
	names := call{s.Prefix + key, redisRecord + key, redisPending}
	return append(append(names[:keys:keys], further...), now.Unix(), decimal(mid.Horizon(mid.Of(now))), s.keep.Load(), int64(recordKept.Seconds()), volatile)
}

// Read implements store.
func (s *redisStore) Read(ctx context.Context, queries []query) []found {
	return batched(ctx, s, scriptRead, queries, foundErr,
		func(q query) string { return q.key },
		func(query) int { return 0 },
		func(q query, now time.Time) call {
			return call{s.Prefix + q.key, redisRecord + q.key, now.Unix(), decimal(mid.Horizon(mid.Of(now))), decimal(max(q.after, 0)), max(q.limit, 0)}
		},
		s.parseFound)
}

// redisFound is how many values come before the messages in what read.lua returns.
const redisFound = 3

// parseFound reads what read.lua returns. A member that cannot be read is left
// out: nobody else could read it either, and the key's other messages are fine.
func (s *redisStore) parseFound(reply any) found {
	vals, err := redis.ByteSlices(reply, nil)
	if err != nil {
		return found{err: s.failed(err)}
	}
	nums := make([]int64, 0, len(vals))
	for i, v := range vals {
		if i >= redisFound && (i-redisFound)%2 == 0 {
			continue // a member; its mid follows
		}
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return found{err: s.failed(fmt.Errorf("a mid: %w", err))}
		}
		nums = append(nums, n)
	}
	if len(vals) < redisFound || (len(vals)-redisFound)%2 != 0 {
		return found{err: s.failed(fmt.Errorf("%d values in a reply", len(vals)))}
	}
	f := found{last: nums[0], trimmed: nums[1], next: nums[2]}
	mids := nums[redisFound:]
	for i, n := range mids {
		raw := vals[redisFound+2*i]
		m, err := msg.ParseMember(raw, n)
		if err != nil {
			glog.Warningf("message: unreadable member left out shard=%s mid=%d bytes=%d", s.Address, n, len(raw))
			continue
		}
		if m.Expired(s.Now().Unix()) { // its fields stand where the script does not look for them
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
	_, err := s.run1(ctx, scriptDelete, call{s.Prefix + key, redisRecord + key, now.Unix(), decimal(mid.Horizon(mid.Of(now))), int64(recordKept.Seconds())})
	return err
}
