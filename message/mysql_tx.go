package message

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

const (
	// mysqlHeld is how many rows a transaction reads of all its keys together, and
	// mysqlHeldKey how many of each of them if there are more: an old daemon keeps
	// any number. They are the newest, and more than may be kept.
	mysqlHeld    = 1 << 15
	mysqlHeldKey = 4096
	// mysqlDoomed is how many rows a transaction drops: nobody's save is to pay for
	// all that an old daemon has piled up. Those that stay meet the next save.
	mysqlDoomed = 4096
	// mysqlRows bounds a statement that names rows: MariaDB makes a table of a list of
	// a thousand.
	mysqlRows = 512
	// mysqlBody is the longest message that is read, however it came there.
	mysqlBody = 8 << 20
)

// mysqlTx is one transaction over some keys, all of which it has locked. What is
// to be done to them is collected and written at the end.
type mysqlTx struct {
	ctx  context.Context
	conn *sql.Conn

	keep  int
	now   int64 // unix second
	clock int64 // the same in mid units

	keys map[string]*mysqlKey
	ids  map[mysqlIDKey]mysqlID // of callers, that are still remembered

	doomed  []any            // ids of rows to be deleted
	renewed []*mysqlRow      // rows to be written anew
	named   []any            // rows of gopush_id to be written
	pending map[string]int64 // key → mid
}

// mysqlKey is what a transaction knows of a key.
type mysqlKey struct {
	record
	held []*mysqlRow // by rising mid, the expired ones too
}

// mysqlRow is a message, but for the body of one that is in the table.
type mysqlRow struct {
	id int64 // 0: not in the table yet
	msg.Message
}

// on runs f in a transaction that has locked keys, and writes what f has decided.
// f may run several times.
func (s *mysqlStore) on(ctx context.Context, keys []string, f func(*mysqlTx) error) error {
	keys = slices.Compact(slices.Sorted(slices.Values(keys))) // all lock in one order
	return s.transaction(ctx, func(ctx context.Context, conn *sql.Conn) error {
		now := s.Now()
		t := &mysqlTx{
			ctx: ctx, conn: conn, keep: int(s.keep.Load()), now: now.Unix(), clock: mid.Of(now),
			keys: make(map[string]*mysqlKey, len(keys)), ids: make(map[mysqlIDKey]mysqlID), pending: make(map[string]int64),
		}
		if err := t.lock(keys); err != nil {
			return err
		}
		if err := t.readHeld(keys); err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
		return t.write()
	})
}

func (t *mysqlTx) exec(query string, args ...any) error {
	_, err := t.conn.ExecContext(t.ctx, query, args...)
	return err
}

// lock locks the records of keys and reads them. A key without one gets one: there
// is no other way to lock what is not there.
func (t *mysqlTx) lock(keys []string) error {
	rows := make([]any, len(keys))
	for i, key := range keys {
		rows[i] = []byte(key)
	}
	if err := t.exec("INSERT INTO gopush_record (skey, last, trimmed, till) VALUES "+marks(len(keys), "(?,0,0,0)")+
		" ON DUPLICATE KEY UPDATE till = till", rows...); err != nil {
		return err
	}
	return each(t.ctx, t.conn, func(r *sql.Rows) error {
		var key []byte
		k := new(mysqlKey)
		err := r.Scan(&key, &k.last, &k.trimmed, &k.till)
		t.keys[string(key)] = k
		return err
	}, "SELECT skey, last, trimmed, till FROM gopush_record WHERE skey IN ("+marks(len(keys), "?")+")", rows...)
}

// mysqlColumns are those of a message but for its body. What nobody sane has
// written is brought to what int64 holds, so that it fails nothing.
const mysqlColumns = "id, skey, mid, CAST(LEAST(ttl, 253402300799) AS SIGNED), nonce"

// mysqlMids are the mids that can be served.
const mysqlMids = " AND mid BETWEEN 1 AND 9223372036854775807 "

// readHeld reads what the keys hold, and lets that count for their last mids: an
// old daemon may have put it there.
func (t *mysqlTx) readHeld(keys []string) error {
	args := make([]any, 0, len(keys)+1)
	for _, key := range keys {
		args = append(args, []byte(key))
	}
	n := 0
	take := func(r *sql.Rows) error {
		var key, nonce []byte
		row := new(mysqlRow)
		if err := r.Scan(&row.id, &key, &row.Mid, &row.Expires, &nonce); err != nil {
			return err
		}
		row.Nonce = string(nonce)
		k := t.keys[string(key)]
		if k == nil {
			return fmt.Errorf("message: a row of key %q, which was not asked for", key)
		}
		k.held = append(k.held, row)
		n++
		return nil
	}
	err := each(t.ctx, t.conn, take, "SELECT "+mysqlColumns+" FROM private_msg WHERE skey IN ("+marks(len(keys), "?")+")"+
		mysqlMids+"ORDER BY skey, mid LIMIT ?", append(args, mysqlHeld)...)
	if err != nil {
		return err
	}
	if n == mysqlHeld {
		for _, key := range keys {
			k := t.keys[key]
			k.held = nil
			if err := each(t.ctx, t.conn, take, "SELECT "+mysqlColumns+" FROM private_msg WHERE skey = ?"+
				mysqlMids+"ORDER BY mid DESC LIMIT ?", []byte(key), mysqlHeldKey); err != nil {
				return err
			}
			slices.Reverse(k.held)
		}
	}
	for _, k := range t.keys {
		for _, row := range slices.Backward(k.held) {
			if !mid.Foreign(row.Mid, t.clock) {
				k.last = max(k.last, row.Mid)
				break
			}
		}
	}
	return nil
}

// body returns the message of a row.
func (t *mysqlTx) body(row *mysqlRow) (body []byte, err error) {
	if row.Body != nil {
		return row.Body, nil
	}
	err = each(t.ctx, t.conn, func(r *sql.Rows) error { return r.Scan(&body) },
		"SELECT IF(OCTET_LENGTH(msg) <= ?, msg, '') FROM private_msg WHERE id = ?", mysqlBody, row.id)
	if good, bad := msg.Stored(body); err == nil && bad == nil {
		body = good
	}
	return body, err
}

// add keeps m and does what follows from it: who is pushed out, and the record.
func (t *mysqlTx) add(k *mysqlKey, m msg.Message) {
	i, there := slices.BinarySearchFunc(k.held, m.Mid, func(row *mysqlRow, mid int64) int {
		switch {
		case row.Mid < mid:
			return -1
		case row.Mid > mid:
			return 1
		}
		return 0
	})
	if there {
		k.held[i].Message = m
		if k.held[i].id != 0 {
			t.renewed = append(t.renewed, k.held[i])
		}
	} else {
		k.held = slices.Insert(k.held, i, &mysqlRow{Message: m})
	}
	if !mid.Foreign(m.Mid, t.clock) {
		k.last = max(k.last, m.Mid)
	}
	k.till = max(k.till, max(m.Expires, t.now)+int64(recordKept.Seconds()))
	t.trim(k)
}

// trim drops what has expired and all but the newest. Messages far ahead of the
// clock are counted apart: they are nobody's newer ones.
func (t *mysqlTx) trim(k *mysqlKey) {
	if len(k.held) <= t.keep {
		return
	}
	var kept, far int
	out := make([]*mysqlRow, 0, t.keep)
	for _, row := range slices.Backward(k.held) {
		switch {
		case row.Expires <= t.now:
		case mid.Foreign(row.Mid, t.clock):
			if far++; far <= t.keep {
				out = append(out, row)
				continue
			}
		default:
			if kept++; kept <= t.keep {
				out = append(out, row)
				continue
			}
			k.trimmed = max(k.trimmed, row.Mid)
		}
		if row.id != 0 {
			t.doomed = append(t.doomed, row.id)
		}
	}
	slices.Reverse(out)
	k.held = out
}

// write writes what was decided.
func (t *mysqlTx) write() error {
	keys := slices.Sorted(maps.Keys(t.keys))
	for ids := range slices.Chunk(t.doomed[:min(len(t.doomed), mysqlDoomed)], mysqlRows) {
		if err := t.exec("DELETE FROM private_msg WHERE id IN ("+marks(len(ids), "?")+")", ids...); err != nil {
			return err
		}
	}
	for _, row := range t.renewed {
		if err := t.exec("UPDATE private_msg SET ttl = ?, nonce = ?, mtime = UTC_TIMESTAMP() WHERE id = ?",
			row.Expires, []byte(row.Nonce), row.id); err != nil {
			return err
		}
	}
	if err := t.insert(keys); err != nil {
		return err
	}
	if err := t.writeIDs(); err != nil {
		return err
	}
	var records []any
	for _, key := range keys {
		k := t.keys[key]
		if k.till > 0 {
			records = append(records, []byte(key), k.last, k.trimmed, k.till)
		}
	}
	if len(records) > 0 {
		err := t.exec("INSERT INTO gopush_record (skey, last, trimmed, till) VALUES "+marks(len(records)/4, "(?,?,?,?)")+
			" ON DUPLICATE KEY UPDATE last = VALUES(last), trimmed = VALUES(trimmed), till = VALUES(till)", records...)
		if err != nil {
			return err
		}
	}
	var pending []any
	for _, key := range slices.Sorted(maps.Keys(t.pending)) {
		pending = append(pending, []byte(key), t.pending[key])
	}
	if len(pending) == 0 {
		return nil
	}
	return t.exec("INSERT INTO gopush_pending (skey, mid) VALUES "+marks(len(pending)/2, "(?,?)")+
		" ON DUPLICATE KEY UPDATE mid = VALUES(mid)", pending...)
}

// insert writes the rows that are new. They are as many as a transaction may have,
// and where they are too large for one packet the driver sends them in pieces.
func (t *mysqlTx) insert(keys []string) error {
	var rows []any
	for _, key := range keys {
		for _, row := range t.keys[key].held {
			if row.id == 0 {
				rows = append(rows, []byte(key), row.Mid, row.Expires, []byte(row.Body), []byte(row.Nonce))
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return t.exec("INSERT INTO private_msg (skey, mid, ttl, msg, nonce, ctime, mtime) VALUES "+
		marks(len(rows)/5, "(?,?,?,?,?,UTC_TIMESTAMP(),UTC_TIMESTAMP())"), rows...)
}

// querier is an *sql.DB or *sql.Conn.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls row for each row of the answer to query.
func each(ctx context.Context, q querier, row func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// atMost returns n, or as much of it as the database understands.
func atMost(n int) int64 { return min(int64(n), math.MaxInt32) }
