package message

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/golang/glog"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

// mysqlReads is how many keys one statement reads.
const mysqlReads = 64

// Save implements store.
func (s *mysqlStore) Save(ctx context.Context, items []item) []saved {
	return inTransactions(ctx, s, items, savedErr, (*mysqlTx).save)
}

// save returns what became of it, and what is wrong with the database.
func (t *mysqlTx) save(it item) (saved, error) {
	k := t.keys[it.key]
	first, refused, err := t.before(it, k)
	switch {
	case err != nil || refused != nil:
		return saved{err: refused}, err
	case first != 0:
		t.note(it, first)
		return saved{mid: first, prev: first}, nil
	}
	m := it.msg
	m.Mid = it.next(k.last, t.clock)
	prev := k.last
	t.note(it, m.Mid)
	t.putID(it, m.Mid)
	t.add(k, m)
	return saved{mid: m.Mid, prev: prev}, nil
}

// before returns the mid under which it was saved before, 0 if it was not, what is
// wrong with it, and what is wrong with the database.
func (t *mysqlTx) before(it item, k *mysqlKey) (first int64, refused, err error) {
	if it.named {
		if first, refused := t.id(it); first != 0 || refused != nil {
			return first, refused, nil
		}
	}
	known := it.known
	if it.everywhere() {
		known = -1
	}
	if it.msg.Nonce == "" || k.last <= known {
		return 0, nil, nil
	}
	for _, row := range k.held {
		if row.Mid <= known || row.Nonce != it.msg.Nonce || it.named && row.Expires <= t.now { // its caller may use the id again
			continue
		}
		if it.named {
			body, err := t.body(row)
			if err != nil {
				return 0, nil, err
			}
			if !bytes.Equal(body, it.msg.Body) {
				return 0, errIDTaken, nil
			}
		}
		return row.Mid, nil, nil
	}
	return 0, nil, nil
}

// note puts the key of it into the pending set if it asks for that.
func (t *mysqlTx) note(it item, mid int64) {
	if it.pending {
		t.pending[it.key] = mid
	}
}

// Put implements store.
func (s *mysqlStore) Put(ctx context.Context, items []item) []error {
	return inTransactions(ctx, s, items, sameErr, (*mysqlTx).put)
}

// put returns what is wrong with it, and what is wrong with the database.
func (t *mysqlTx) put(it item) (refused, err error) {
	k := t.keys[it.key]
	i := slices.IndexFunc(k.held, func(row *mysqlRow) bool { return row.Mid == it.msg.Mid })
	if i >= 0 {
		body, err := t.body(k.held[i])
		switch {
		case err != nil:
			return nil, err
		case !bytes.Equal(body, it.msg.Body):
			return errMidTaken, nil
		case k.held[i].Expires >= it.msg.Expires:
			return nil, nil
		}
	}
	t.add(k, it.msg)
	return nil, nil
}

// inTransactions does one to each of items, in transactions of bounded size, and
// returns the answers in order. What fails says so by fail.
func inTransactions[R any](ctx context.Context, s *mysqlStore, items []item, fail func(error) R, one func(*mysqlTx, item) (R, error)) []R {
	out := make([]R, 0, len(items))
	for len(items) > 0 {
		n, size := 0, 0
		for n < min(len(items), mysqlBatch) && (n == 0 || size+len(items[n].msg.Body) <= mysqlBytes) {
			size += len(items[n].msg.Body)
			n++
		}
		out = append(out, inTransaction(ctx, s, items[:n], fail, one)...)
		items = items[n:]
	}
	return out
}

func inTransaction[R any](ctx context.Context, s *mysqlStore, items []item, fail func(error) R, one func(*mysqlTx, item) (R, error)) []R {
	keys := make([]string, len(items))
	for i, it := range items {
		keys[i] = it.key
	}
	out := make([]R, len(items))
	err := s.on(ctx, keys, func(t *mysqlTx) error {
		if err := t.readIDs(items); err != nil {
			return err
		}
		for i, it := range items {
			var err error
			if out[i], err = one(t, it); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return out
	case len(items) == 1 || !isMySQL(err) || isMySQL(err, mysqlDeadlock, mysqlLockWait):
		return failAll(len(items), s.failed(err), fail)
	}
	// The database refused something of one of them. The others are to have no
	// part in it.
	for i := range items {
		out[i] = inTransaction(ctx, s, items[i:i+1], fail, one)[0]
	}
	return out
}

// Read implements store.
func (s *mysqlStore) Read(ctx context.Context, queries []query) []found {
	out := make([]found, 0, len(queries))
	for part := range slices.Chunk(queries, mysqlReads) {
		answers, err := s.read(ctx, part)
		if err != nil {
			answers = failAll(len(part), s.failed(err), foundErr)
		}
		out = append(out, answers...)
	}
	return out
}

// What a row of read's answer is, where it is not a message of the query with that
// number.
const (
	mysqlIsRecord = -1
	mysqlIsTop    = -2
)

// read reads by one statement, which sees everything as of one moment: a message
// that is trimmed meanwhile is in the answer, or told as trimmed.
func (s *mysqlStore) read(ctx context.Context, queries []query) ([]found, error) {
	now := s.Now()
	index := make(map[string][]int) // key → its queries
	var keys []any
	for i, q := range queries {
		if index[q.key] == nil {
			keys = append(keys, []byte(q.key))
		}
		index[q.key] = append(index[q.key], i)
	}
	in := marks(len(keys), "?")
	parts := []string{
		"(SELECT ? AS what, skey, last, trimmed, NULL, '' FROM gopush_record WHERE skey IN (" + in + "))",
		"(SELECT ?, skey, MAX(mid), 0, NULL, '' FROM private_msg WHERE skey IN (" + in + ") AND mid BETWEEN 1 AND ? GROUP BY skey)",
	}
	args := append([]any{mysqlIsRecord}, keys...)
	args = append(append(append(args, mysqlIsTop), keys...), mid.Horizon(mid.Of(now)))
	for i, q := range queries {
		if q.limit > 0 {
			parts = append(parts, "(SELECT ?, skey, mid, CAST(LEAST(ttl, 253402300799) AS SIGNED), IF(OCTET_LENGTH(msg) <= ?, msg, ''), nonce"+
				" FROM private_msg WHERE skey = ? AND mid > ? AND mid <= 9223372036854775807 AND ttl > ? ORDER BY mid LIMIT ?)")
			args = append(args, i, mysqlBody, []byte(q.key), max(q.after, 0), now.Unix(), atMost(q.limit))
		}
	}
	out := make([]found, len(queries))
	rows := make([]int, len(queries)) // of messages, those that cannot be read too
	err := each(ctx, s.pool, func(r *sql.Rows) error {
		var what int
		var key, body, nonce []byte
		var n, expires int64
		if err := r.Scan(&what, &key, &n, &expires, &body, &nonce); err != nil {
			return err
		}
		if what >= 0 {
			if rows[what]++; rows[what] == queries[what].limit {
				out[what].next = n
			}
			if m, ok := parseRow(n, expires, body, nonce); ok {
				out[what].msgs = append(out[what].msgs, m)
			} else {
				glog.Warningf("message: unreadable row left out shard=%s key=%q mid=%d bytes=%d", s.Source.place(), key, n, len(body))
			}
			return nil
		}
		for _, i := range index[string(key)] {
			out[i].last = max(out[i].last, n)
			if what == mysqlIsRecord {
				out[i].trimmed = expires
			}
		}
		return nil
	}, strings.Join(parts, " UNION ALL "), args...)
	return out, err
}

// parseRow returns the message of a row, whoever wrote it, and whether it can be
// served: an old daemon stored what it was given.
func parseRow(id, expires int64, body, nonce []byte) (msg.Message, bool) {
	good, err := msg.Stored(body)
	if err != nil {
		return msg.Message{}, false
	}
	m := msg.Message{Body: good, Mid: id, Expires: expires, Nonce: string(nonce)}
	if !msg.ValidNonce(m.Nonce) {
		m.Nonce = ""
	}
	return m, true
}

// Delete implements store.
func (s *mysqlStore) Delete(ctx context.Context, key string) error {
	if err := s.on(ctx, []string{key}, func(t *mysqlTx) error { return t.delete(key) }); err != nil {
		return s.failed(err)
	}
	return nil
}

func (t *mysqlTx) delete(key string) error {
	k := t.keys[key]
	if k.last > 0 || k.trimmed > 0 || len(k.held) > 0 {
		k.till = max(k.till, t.now+int64(recordKept.Seconds()))
	}
	k.held = nil
	return t.exec("DELETE FROM private_msg WHERE skey = ?", []byte(key))
}
