package message

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

// sweepLook is how many entries one Sweep looks at. There is no index of what
// expires when: it would cost every save a second write, and what has expired
// is not served anyway, so that the file may keep it for a while.
const sweepLook = 4096

// sweep is where the next Sweep goes on.
type sweep struct {
	mu     sync.Mutex
	bucket int
	from   []byte // nil: the bucket's beginning
}

// Sweep implements store: it looks at the next sweepLook entries of the file
// and drops those that have expired. It reports more while it finds any.
func (s *boltStore) Sweep(ctx context.Context) (more bool, err error) {
	s.sweeping.mu.Lock()
	defer s.sweeping.mu.Unlock()
	rules := []struct {
		bucket  func(boltTx) *bolt.Bucket
		expired func(b boltTx, v []byte) bool
	}{
		{func(b boltTx) *bolt.Bucket { return b.messages }, messageExpired},
		{func(b boltTx) *bolt.Bucket { return b.records }, recordExpired},
		{func(b boltTx) *bolt.Bucket { return b.tokens }, tokenExpired},
		{func(b boltTx) *bolt.Bucket { return b.pending }, pendingExpired},
		{func(b boltTx) *bolt.Bucket { return b.ids }, idExpired},
	}
	rule := rules[s.sweeping.bucket]

	var doomed [][]byte
	var next []byte
	err = s.view(func(b boltTx) error {
		c := rule.bucket(b).Cursor()
		k, v := c.Seek(s.sweeping.from)
		for n := 0; k != nil && n < sweepLook; n++ {
			if rule.expired(b, v) {
				doomed = append(doomed, bytes.Clone(k))
			}
			k, v = c.Next()
		}
		next = bytes.Clone(k)
		return nil
	})
	if err == nil && len(doomed) > 0 {
		_, err = write(ctx, s, func(b boltTx) (struct{}, error) {
			for _, k := range doomed {
				// It may have been renewed since.
				if v := rule.bucket(b).Get(k); v == nil || !rule.expired(b, v) {
					continue
				}
				if err := rule.bucket(b).Delete(k); err != nil {
					return struct{}{}, err
				}
			}
			return struct{}{}, nil
		})
	}
	if err != nil {
		return false, fmt.Errorf("message: sweep: %w", err)
	}
	if s.sweeping.from = next; next == nil {
		s.sweeping.bucket = (s.sweeping.bucket + 1) % len(rules)
	}
	return len(doomed) > 0, nil
}

func messageExpired(b boltTx, v []byte) bool {
	m, ok := msg.SplitMember(v)
	return ok && m.Expired(b.now)
}

func recordExpired(b boltTx, v []byte) bool {
	return len(v) == 24 && int64(binary.BigEndian.Uint64(v[16:])) <= b.now
}

func tokenExpired(b boltTx, v []byte) bool {
	expires, _ := splitToken(v)
	return expires <= b.now
}

func pendingExpired(b boltTx, v []byte) bool {
	return len(v) == 8 && int64(binary.BigEndian.Uint64(v)) < b.clock-int64(pendingKept.Seconds())*mid.Second
}
