package message

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"gopush-cluster/internal/peer"
)

// note puts the key of it into the pending set if it asks for that.
func (b boltTx) note(it item, mid int64) error {
	if !it.pending {
		return nil
	}
	return b.pending.Put(boltKey(it.key), binary.BigEndian.AppendUint64(nil, uint64(mid)))
}

// Pending implements store.
func (s *boltStore) Pending(_ context.Context, limit int) ([]peer.PendingKey, error) {
	var keys []peer.PendingKey
	err := s.view(func(b boltTx) error {
		return b.pending.ForEach(func(k, v []byte) error {
			if len(k) > 0 && len(v) == 8 {
				keys = append(keys, peer.PendingKey{Key: string(k[1:]), Mid: int64(binary.BigEndian.Uint64(v))})
			}
			return nil
		})
	})
	if err != nil {
		return nil, unavailable(s.db.Path(), err)
	}
	slices.SortFunc(keys, func(a, b peer.PendingKey) int { return cmp.Compare(a.Mid, b.Mid) })
	return keys[:min(limit, len(keys))], nil
}

// Settle implements store.
func (s *boltStore) Settle(ctx context.Context, keys []peer.PendingKey) error {
	_, err := write(ctx, s, func(b boltTx) (struct{}, error) {
		for _, k := range keys {
			name := boltKey(k.Key)
			v := b.pending.Get(name)
			if len(v) != 8 || int64(binary.BigEndian.Uint64(v)) != k.Mid {
				continue
			}
			if err := b.pending.Delete(name); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}
