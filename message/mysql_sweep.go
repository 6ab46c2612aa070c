package message

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"gopush-cluster/internal/mid"
)

// mysqlSweep is how many rows of a table one Sweep drops at most.
const mysqlSweep = mysqlRows

// Sweep implements store. What it drops it finds by an index and without a lock,
// and drops it by its primary key if it still has expired.
func (s *mysqlStore) Sweep(ctx context.Context) (more bool, err error) {
	now := s.Now()
	for _, part := range []struct {
		table, id, end string
		before         int64
	}{
		{"private_msg", "id", "ttl", now.Unix()},
		{"gopush_record", "skey", "till", now.Unix()},
		{"gopush_token", "skey, hash", "expires", now.Unix()},
		{"gopush_id", "skey, id", "till", now.Unix()},
		{"gopush_pending", "skey", "mid", mid.Of(now.Add(-pendingKept))},
	} {
		n, err := s.sweepTable(ctx, part.table, part.id, part.end, part.before)
		if err != nil {
			return false, s.failed(err)
		}
		more = more || n == mysqlSweep
	}
	return more, nil
}

// sweepTable drops rows of table, whose primary key is id, where end is at or
// below before, and returns how many it has seen.
func (s *mysqlStore) sweepTable(ctx context.Context, table, id, end string, before int64) (int, error) {
	columns := 1
	if id != "id" && id != "skey" {
		columns = 2
	}
	var found [][2]sql.RawBytes
	err := each(ctx, s.pool, func(r *sql.Rows) error {
		var a, b []byte
		to := []any{&a, &b}
		err := r.Scan(to[:columns]...)
		found = append(found, [2]sql.RawBytes{a, b})
		return err
	}, "SELECT "+id+" FROM "+table+" WHERE "+end+" <= ? ORDER BY "+end+" LIMIT ?", before, mysqlSweep)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	// In the order of their keys, as everybody locks them.
	slices.SortFunc(found, func(a, b [2]sql.RawBytes) int {
		return cmp.Or(cmp.Compare(string(a[0]), string(b[0])), cmp.Compare(string(a[1]), string(b[1])))
	})
	one := "(" + marks(columns, "?") + ")"
	var args []any
	for _, f := range found {
		args = append(args, []byte(f[0]))
		if columns == 2 {
			args = append(args, []byte(f[1]))
		}
	}
	err = s.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "DELETE FROM "+table+" WHERE ("+id+") IN ("+marks(len(found), one)+") AND "+end+" <= ?", append(args, before)...)
		return err
	})
	return len(found), err
}
