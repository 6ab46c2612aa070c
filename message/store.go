package message

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
)

var (
	// errUnavailable means that the store did not answer: what was asked for may
	// or may not have been done.
	errUnavailable = errors.New("message: the store does not answer")
	// errMidTaken means that another message of the key has this mid already.
	errMidTaken = fmt.Errorf("%w: the key has another message with this mid", peer.ErrInvalid)
	// errIDTaken means that the caller's id came before, with another body.
	errIDTaken = fmt.Errorf("message: %w", peer.ErrConflict)
	// errSetup means that the store may lose what it has acknowledged, as it is set
	// up. That does not go away by itself.
	errSetup = errors.New("message: the store must not be used as it is set up")
	// errNoReplica means that a second server has not taken over what was written.
	// The store can still be read.
	errNoReplica = fmt.Errorf("%w with a replica behind it", errUnavailable)
	// errReserved means that a key would meet a name of ours in the store.
	errReserved = fmt.Errorf("%w: keys that begin with gopush: are reserved while redis.prefix is what it is", peer.ErrInvalid)
)

const (
	// recordKept is how long the record of a key outlives its last message and
	// its deletion: a client that comes back within a week sees its gap.
	recordKept = 7 * 24 * time.Hour
	// idKept is how long the id of a message is remembered at least: its caller,
	// who has not heard whether it was stored, may repeat it that long, even if
	// the message has expired or made room for newer ones.
	idKept = 10 * time.Minute
	// pendingKept is how long a key waits for its owner to look: webs ask every
	// second, but a set that nobody asks for must not grow for ever.
	pendingKept = 24 * time.Hour
)

// store keeps the messages, records and tokens of one shard's keys. Every
// store passes testStore (conformance_test.go). All methods are safe for
// concurrent use, keep to ctx's deadline, and tell of a store that does not
// answer by errUnavailable.
type store interface {
	// Save decides the mid of each item and keeps it, in their order, and answers
	// for each: one key's trouble is not another's. A saved item is on disk, as
	// far as the store's own settings make that true. One whose nonce is found was
	// saved before; if that is its caller's id, and the message was another one,
	// it is errIDTaken.
	Save(ctx context.Context, items []item) []saved
	// Put keeps items under the very mids they bring, below the last one too, for
	// comets that decide mids themselves. The same message twice is kept once;
	// another one under the same mid is errMidTaken.
	Put(ctx context.Context, items []item) []error
	// Read answers for each query. It changes nothing.
	Read(ctx context.Context, queries []query) []found
	// Delete drops the messages of a key. Its record stays, so that mids go on
	// rising.
	Delete(ctx context.Context, key string) error

	// Pending returns keys that had an item with pending saved, each with the mid
	// of the last one, at most limit, the lowest mids first.
	Pending(ctx context.Context, limit int) ([]peer.PendingKey, error)
	// Settle makes keys no longer pending, but for those whose mid is another by
	// now.
	Settle(ctx context.Context, keys []peer.PendingKey) error

	// AddToken keeps t, or renews it. A key has at most tokensKept of them: the
	// one that ends first makes room.
	AddToken(ctx context.Context, t token) error
	// CheckToken tells what is known of a key and a token's hash, and renews a
	// token that lives by use. Expires is set for a live one.
	CheckToken(ctx context.Context, key, hash string) (peer.TokenReply, error)

	// Keep sets how many messages are kept for a key from now on.
	Keep(newest int)
	// Ping asks the store for a sign of life, on a way of its own: it answers
	// while all connections are busy, and finds out that it is hung.
	Ping(ctx context.Context) error
	// Sweep drops a bounded amount of what has expired, and reports whether there
	// may be more of it now. It does nothing where the store forgets by itself.
	Sweep(ctx context.Context) (more bool, err error)
	Close() error
}

// item is one message to be kept for one key.
type item struct {
	key string
	msg msg.Message // its Mid matters to Put only

	floor   int64 // the mid lies above it; mid.AtLeast: and mid.Blind past the last one
	known   int64 // the nonce is looked for among members above it
	retry   bool  // the nonce is looked for among all members
	named   bool  // the nonce is the caller's id: it is also looked for where only ids are kept, and kept there
	pending bool  // put the key into the shard's pending set as well
}

// saved is what became of an item.
type saved struct {
	mid  int64 // of the message
	prev int64 // the last mid of the key before; for a nonce that was there already prev == mid
	err  error // nothing else counts then
}

// query asks for the messages of key above after, the oldest limit of them.
type query struct {
	key   string
	after int64
	limit int
}

// found is the answer to a query.
type found struct {
	msgs    []msg.Message // by rising mid, none of them expired
	last    int64         // the largest mid of the key so far, foreign ones far ahead left out
	trimmed int64         // the largest mid that newer messages pushed out before it expired
	next    int64         // where to read on, if limit was reached: above it; otherwise 0
	err     error         // nothing else counts then
}

// least returns the smallest mid that item may get whatever the store holds. A
// floor that no daemon can have made raises nothing, or one wrong caller would
// take a key's mids to the end of the numbers.
func (it item) least(clock int64) int64 {
	floor, _ := mid.Known(it.floor)
	if mid.Foreign(floor, clock) {
		floor = 0
	}
	return mid.Next(0, floor, clock)
}

// next returns the mid of item, given the last one of its key.
func (it item) next(last, clock int64) int64 {
	floor := int64(0)
	if _, more := mid.Known(it.floor); more {
		floor = mid.Unknown
	}
	return max(it.least(clock), mid.Next(last, floor, clock))
}

// everywhere reports whether the nonce is looked for among all members.
func (it item) everywhere() bool { return it.retry || it.named }

// bodyHash tells the bodies apart that come with one id, where only the id is
// left. 16 bytes: nobody gains by finding two that are the same.
func bodyHash(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:16]
}

// unavailable says that where did not answer because of err.
func unavailable(where string, err error) error {
	return fmt.Errorf("%w: %s: %w", errUnavailable, where, err)
}

// failAll returns n answers that all say err.
func failAll[R any](n int, err error, answer func(error) R) []R {
	out := make([]R, n)
	for i := range out {
		out[i] = answer(err)
	}
	return out
}

func savedErr(err error) saved { return saved{err: err} }
func foundErr(err error) found { return found{err: err} }
func sameErr(err error) error  { return err }
