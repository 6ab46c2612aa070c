package message

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

// Save implements store.
func (s *boltStore) Save(ctx context.Context, items []item) []saved {
	out, err := write(ctx, s, func(b boltTx) ([]saved, error) {
		out := make([]saved, len(items))
		for i, it := range items {
			var err error
			if out[i], err = b.save(it); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	if err != nil {
		return failAll(len(items), err, savedErr)
	}
	return out
}

// save returns what became of it, and what is wrong with the file.
func (b boltTx) save(it item) (saved, error) {
	rec, err := b.record(it.key)
	if err != nil {
		return saved{err: err}, nil
	}
	first, err := b.before(it, rec)
	switch {
	case err != nil:
		return saved{err: err}, nil
	case first != 0:
		return saved{mid: first, prev: first}, b.note(it, first)
	}
	m := it.msg
	m.Mid = it.next(rec.last, b.clock)
	prev := rec.last
	if err := errors.Join(b.note(it, m.Mid), b.putID(it, m.Mid)); err != nil {
		return saved{}, err
	}
	return saved{mid: m.Mid, prev: prev}, b.keepMessage(it.key, m, rec)
}

// before returns the mid under which it was saved before, 0 if it was not.
func (b boltTx) before(it item, rec record) (int64, error) {
	if it.named {
		if mid, err := b.id(it); mid != 0 || err != nil {
			return mid, err
		}
	}
	known := it.known
	if it.everywhere() {
		known = -1
	}
	if it.msg.Nonce == "" || rec.last <= known {
		return 0, nil
	}
	for _, m := range b.above(it.key, known) {
		if m.Nonce != it.msg.Nonce || it.named && m.Expired(b.now) { // its caller may use the id again
			continue
		}
		if it.named && !bytes.Equal(m.Body, it.msg.Body) {
			return 0, errIDTaken
		}
		return m.Mid, nil
	}
	return 0, nil
}

// Put implements store.
func (s *boltStore) Put(ctx context.Context, items []item) []error {
	out, err := write(ctx, s, func(b boltTx) ([]error, error) {
		out := make([]error, len(items))
		for i, it := range items {
			var err error
			if out[i], err = b.put(it); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	if err != nil {
		return failAll(len(items), err, sameErr)
	}
	return out
}

// put returns what is wrong with it, and what is wrong with the file.
func (b boltTx) put(it item) (refused, err error) {
	rec, err := b.record(it.key)
	if err != nil {
		return err, nil
	}
	if raw := b.messages.Get(messageKey(it.key, it.msg.Mid)); raw != nil {
		m, ok := msg.SplitMember(raw)
		switch {
		case !ok:
			return damaged("message", it.key), nil
		case !bytes.Equal(m.Body, it.msg.Body):
			return errMidTaken, nil
		case m.Expires >= it.msg.Expires:
			return nil, nil
		}
	}
	return nil, b.keepMessage(it.key, it.msg, rec)
}

// keepMessage writes m and what follows from it: who is pushed out, and the
// record.
func (b boltTx) keepMessage(key string, m msg.Message, rec record) error {
	if err := b.messages.Put(messageKey(key, m.Mid), msg.AppendMember(nil, m)); err != nil {
		return err
	}
	if !mid.Foreign(m.Mid, b.clock) {
		rec.last = max(rec.last, m.Mid)
	}
	rec.till = max(rec.till, max(m.Expires, b.now)+int64(recordKept.Seconds()))
	var err error
	if rec.trimmed, err = b.trim(key, rec.trimmed); err != nil {
		return err
	}
	return b.putRecord(key, rec)
}

// trim drops what has expired and all but the newest, and returns the largest
// mid that was pushed out so far. Messages far ahead of the clock are counted
// apart: they are nobody's newer ones.
func (b boltTx) trim(key string, trimmed int64) (int64, error) {
	all := b.above(key, -1)
	if len(all) <= b.keep {
		return trimmed, nil
	}
	var kept, far int
	for _, m := range slices.Backward(all) {
		switch {
		case m.Expired(b.now):
		case mid.Foreign(m.Mid, b.clock):
			if far++; far <= b.keep {
				continue
			}
		default:
			if kept++; kept <= b.keep {
				continue
			}
			trimmed = max(trimmed, m.Mid)
		}
		if err := b.messages.Delete(messageKey(key, m.Mid)); err != nil {
			return 0, err
		}
	}
	return trimmed, nil
}

// Read implements store.
func (s *boltStore) Read(ctx context.Context, queries []query) []found {
	out := make([]found, len(queries))
	err := s.view(func(b boltTx) error {
		for i, q := range queries {
			if err := ctx.Err(); err != nil {
				out[i].err = unavailable(s.db.Path(), err)
				continue
			}
			out[i] = b.read(q)
		}
		return nil
	})
	if err != nil {
		return failAll(len(queries), unavailable(s.db.Path(), err), foundErr)
	}
	return out
}

func (b boltTx) read(q query) found {
	rec, err := b.record(q.key)
	if err != nil {
		return found{err: err}
	}
	f := found{last: rec.last, trimmed: rec.trimmed}
	if q.limit <= 0 {
		return f
	}
	for _, m := range b.above(q.key, q.after) {
		if m.Expired(b.now) {
			continue
		}
		m.Body = bytes.Clone(m.Body) // the file may move when the transaction ends
		if f.msgs = append(f.msgs, m); len(f.msgs) == q.limit {
			f.next = m.Mid
			break
		}
	}
	return f
}

// Delete implements store.
func (s *boltStore) Delete(ctx context.Context, key string) error {
	_, err := write(ctx, s, func(b boltTx) (struct{}, error) {
		rec, err := b.record(key)
		if err != nil || rec == (record{}) {
			return struct{}{}, err
		}
		for _, m := range b.above(key, -1) {
			if err := b.messages.Delete(messageKey(key, m.Mid)); err != nil {
				return struct{}{}, err
			}
		}
		rec.till = max(rec.till, b.now+int64(recordKept.Seconds()))
		return struct{}{}, b.putRecord(key, rec)
	})
	return err
}

// above returns the messages of key with a larger mid, the expired ones too, by
// rising mid. Their bodies are the transaction's.
func (b boltTx) above(key string, mid int64) []msg.Message {
	if mid == math.MaxInt64 {
		return nil
	}
	var out []msg.Message
	prefix := boltKey(key)
	c := b.messages.Cursor()
	for k, v := c.Seek(messageKey(key, max(mid, -1)+1)); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if m, ok := msg.SplitMember(v); ok {
			out = append(out, m)
		}
	}
	return out
}

func messageKey(key string, mid int64) []byte {
	return binary.BigEndian.AppendUint64(boltKey(key), uint64(mid))
}

// record is what outlives the messages of a key.
type record struct {
	last    int64 // the largest mid so far
	trimmed int64 // the largest mid that newer ones pushed out before it expired
	till    int64 // unix second until which the record is kept
}

// record returns the record of key, the zero one if it has none.
func (b boltTx) record(key string) (record, error) {
	v := b.records.Get(boltKey(key))
	if v == nil {
		return record{}, nil
	}
	if len(v) != 24 {
		return record{}, damaged("record", key)
	}
	return record{
		last:    int64(binary.BigEndian.Uint64(v)),
		trimmed: int64(binary.BigEndian.Uint64(v[8:])),
		till:    int64(binary.BigEndian.Uint64(v[16:])),
	}, nil
}

func (b boltTx) putRecord(key string, r record) error {
	v := make([]byte, 0, 24)
	for _, n := range []int64{r.last, r.trimmed, r.till} {
		v = binary.BigEndian.AppendUint64(v, uint64(n))
	}
	return b.records.Put(boltKey(key), v)
}

func damaged(what, key string) error {
	return fmt.Errorf("message: damaged %s: key=%q", what, key)
}

var _ store = (*boltStore)(nil)
