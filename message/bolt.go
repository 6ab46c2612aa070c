package message

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"gopush-cluster/internal/batch"
	"gopush-cluster/internal/mid"
)

// The buckets of the file. Subscriber keys hold any byte, so within a name they
// are preceded by their length, and no key is the beginning of another.
//
//	messages  <len><key><mid, 8 bytes big-endian>  → msg.AppendMember
//	records   <len><key>                           → last, trimmed, till: 8 bytes each
//	tokens    <len><key><hash>                     → expires: 8 bytes, renew: 1
//	pending   <len><key>                           → mid of the save
//	ids       <len><key><nonce>                    → mid, till: 8 bytes each, bodyHash
var (
	bucketMessages = []byte("messages")
	bucketRecords  = []byte("records")
	bucketTokens   = []byte("tokens")
	bucketPending  = []byte("pending")
	bucketIDs      = []byte("ids")
)

const (
	boltFile = "message.db"
	// boltLockWait is how long another process may take to let go of the file,
	// as it does when one daemon follows another.
	boltLockWait = 2 * time.Second
	// boltBatch is how many writes share a transaction, and boltQueue how many
	// may wait for one.
	boltBatch = 1024
	boltQueue = 8192
)

// ErrInUse means that another process has the Embedded file open.
var ErrInUse = errors.New("in use by another process")

// boltStore keeps everything in one file. Writes that arrive while one
// transaction is being synced to disk share the next. The file does not shrink:
// what is dropped makes room for what comes.
type boltStore struct {
	db   *bolt.DB
	keep atomic.Int64 // newest messages kept for a key
	now  func() time.Time
	lane *batch.Lane[change, any]

	sweeping sweep
}

// change is one caller's part of a transaction. An error is the file's, not the
// caller's, and undoes the parts of the others as well.
type change func(boltTx) (any, error)

// openBolt opens the store in folder dir and makes it if it is not there.
func openBolt(dir string, keep int, now func() time.Time) (*boltStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("message: storage.path: %w", err)
	}
	path := filepath.Join(dir, boltFile)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: boltLockWait, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w; stop that one, or give this one another storage.path", path, ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("message: open %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMessages, bucketRecords, bucketTokens, bucketPending, bucketIDs} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("message: prepare %s: %w", path, err), db.Close())
	}
	s := &boltStore{db: db, now: now}
	s.keep.Store(int64(keep))
	s.lane = batch.New(batch.Options[change]{InFlight: 1, Items: boltBatch, Queue: boltQueue}, s.commit)
	return s, nil
}

// commit runs changes in one transaction. It returns when they are on disk.
func (s *boltStore) commit(_ context.Context, changes []change) (results []any, err error) {
	// bbolt panics when it finds its file damaged; that must not take down a
	// process that still serves what can be read.
	defer func() {
		if p := recover(); p != nil {
			results, err = nil, fmt.Errorf("message: %s: %v", s.db.Path(), p)
		}
	}()
	results = make([]any, len(changes))
	err = s.db.Update(func(tx *bolt.Tx) error {
		b := s.begin(tx)
		for i, c := range changes {
			var err error
			if results[i], err = c(b); err != nil {
				return err
			}
		}
		return nil
	})
	return results, err
}

// write queues c for the next transaction and returns c's result once it is on
// disk.
func write[R any](ctx context.Context, s *boltStore, c func(boltTx) (R, error)) (R, error) {
	v, err := s.lane.Do(ctx, func(b boltTx) (any, error) { return c(b) })
	if err != nil {
		var none R
		return none, unavailable(s.db.Path(), err)
	}
	return v.(R), nil
}

// view runs f on what is on disk.
func (s *boltStore) view(f func(boltTx) error) error {
	return s.db.View(func(tx *bolt.Tx) error { return f(s.begin(tx)) })
}

// Keep implements store.
func (s *boltStore) Keep(newest int) { s.keep.Store(int64(newest)) }

// Ping implements store.
func (s *boltStore) Ping(context.Context) error {
	return s.view(func(boltTx) error { return nil })
}

// Close lets what was queued reach the disk and gives the file back.
func (s *boltStore) Close() error {
	s.lane.Close()
	return s.db.Close()
}

// boltTx is a transaction with what every part of it needs.
type boltTx struct {
	messages, records, tokens, pending, ids *bolt.Bucket

	keep  int
	now   int64 // unix second
	clock int64 // the same in mid units
}

func (s *boltStore) begin(tx *bolt.Tx) boltTx {
	now := s.now()
	return boltTx{
		messages: tx.Bucket(bucketMessages),
		records:  tx.Bucket(bucketRecords),
		tokens:   tx.Bucket(bucketTokens),
		pending:  tx.Bucket(bucketPending),
		ids:      tx.Bucket(bucketIDs),
		keep:     int(s.keep.Load()),
		now:      now.Unix(),
		clock:    mid.Of(now),
	}
}

// boltKey returns key behind its length, with room for what follows.
func boltKey(key string) []byte {
	b := make([]byte, 0, 1+len(key)+48)
	return append(append(b, byte(len(key))), key...)
}
