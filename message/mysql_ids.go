package message

import (
	"bytes"
	"database/sql"
)

// mysqlIDKey and mysqlID are a row of gopush_id, but for its end.
type (
	mysqlIDKey struct{ key, id string }
	mysqlID    struct {
		mid  int64
		hash []byte // of the body
	}
)

// readIDs reads what is remembered of the callers' ids of items.
func (t *mysqlTx) readIDs(items []item) error {
	var args []any
	for _, it := range items {
		if it.named {
			args = append(args, []byte(it.key), []byte(it.msg.Nonce))
		}
	}
	if len(args) == 0 {
		return nil
	}
	return each(t.ctx, t.conn, func(r *sql.Rows) error {
		var key, id []byte
		var known mysqlID
		err := r.Scan(&key, &id, &known.mid, &known.hash)
		t.ids[mysqlIDKey{string(key), string(id)}] = known
		return err
	}, "SELECT skey, id, mid, hash FROM gopush_id WHERE (skey, id) IN ("+marks(len(args)/2, "(?,?)")+") AND till > ?", append(args, t.now)...)
}

// id returns the mid that the message got which came with the id of it before, 0
// if the id is not known. It returns errIDTaken if that was another message.
func (t *mysqlTx) id(it item) (int64, error) {
	known, ok := t.ids[mysqlIDKey{it.key, it.msg.Nonce}]
	if ok && !bytes.Equal(known.hash, bodyHash(it.msg.Body)) {
		return 0, errIDTaken
	}
	return known.mid, nil
}

// putID remembers that it got mid, if it has an id.
func (t *mysqlTx) putID(it item, mid int64) {
	if !it.named {
		return
	}
	hash := bodyHash(it.msg.Body)
	t.ids[mysqlIDKey{it.key, it.msg.Nonce}] = mysqlID{mid, hash}
	t.named = append(t.named, []byte(it.key), []byte(it.msg.Nonce), mid, hash, t.now+int64(idKept.Seconds()))
}

func (t *mysqlTx) writeIDs() error {
	if len(t.named) == 0 {
		return nil
	}
	return t.exec("INSERT INTO gopush_id (skey, id, mid, hash, till) VALUES "+marks(len(t.named)/5, "(?,?,?,?,?)")+
		" ON DUPLICATE KEY UPDATE mid = VALUES(mid), hash = VALUES(hash), till = VALUES(till)", t.named...)
}
