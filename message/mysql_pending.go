package message

import (
	"context"
	"database/sql"
	"slices"

	"gopush-cluster/internal/peer"
)

// Pending implements store.
func (s *mysqlStore) Pending(ctx context.Context, limit int) ([]peer.PendingKey, error) {
	var keys []peer.PendingKey
	err := each(ctx, s.pool, func(r *sql.Rows) error {
		var key []byte
		var mid int64
		err := r.Scan(&key, &mid)
		keys = append(keys, peer.PendingKey{Key: string(key), Mid: mid})
		return err
	}, "SELECT skey, mid FROM gopush_pending ORDER BY mid LIMIT ?", atMost(limit))
	if err != nil {
		return nil, s.failed(err)
	}
	return keys, nil
}

// Settle implements store.
func (s *mysqlStore) Settle(ctx context.Context, keys []peer.PendingKey) error {
	for part := range slices.Chunk(keys, mysqlRows) {
		args := make([]any, 0, 2*len(part))
		for _, k := range part {
			args = append(args, []byte(k.Key), k.Mid)
		}
		err := s.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, "DELETE FROM gopush_pending WHERE (skey, mid) IN ("+marks(len(part), "(?,?)")+")", args...)
			return err
		})
		if err != nil {
			return s.failed(err)
		}
	}
	return nil
}
