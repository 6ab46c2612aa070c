package peer

import (
	"errors"
	"fmt"

	"gopush-cluster/internal/wire"
)

// Code says in a reply what became of one item. Codes cross the wire: append
// new ones, never renumber.
type Code int

const (
	OK       Code = iota // done
	NotMine              // the ring gives the key to another comet
	Failed               // not surely done: nothing was promised, it may be tried again
	Invalid              // the item itself is wrong; trying again will not help
	Conflict             // the caller's id was used for another message; nothing was stored
)

var (
	// ErrNotMine means that the comet that was asked does not own the key.
	ErrNotMine = errors.New("peer: the key belongs to another node")
	// ErrFailed means that the call was not surely carried out.
	ErrFailed = errors.New("peer: not surely done")
	// ErrInvalid means that an argument of the call is wrong.
	ErrInvalid = errors.New("peer: invalid argument")
	// ErrConflict means that the caller gave the id of a push to another message
	// of the key before. It is ErrInvalid, too.
	ErrConflict = fmt.Errorf("%w: this id was given to another message of the key in the last ten minutes, "+
		"or to one that is still kept; give each message an id of its own", ErrInvalid)
	// ErrNoMethod means that the daemon at the other end is an old one, which
	// does not know a call of ours.
	ErrNoMethod = errors.New("peer: the daemon does not know this call")
)

// String returns the code's name, for logs.
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case NotMine:
		return "not_mine"
	case Failed:
		return "failed"
	case Invalid:
		return "invalid"
	case Conflict:
		return "conflict"
	}
	return fmt.Sprintf("code_%d", int(c))
}

// Err returns nil for OK, and otherwise one of ErrNotMine, ErrInvalid,
// ErrConflict and ErrFailed.
func (c Code) Err() error {
	switch c {
	case OK:
		return nil
	case NotMine:
		return ErrNotMine
	case Invalid:
		return ErrInvalid
	case Conflict:
		return ErrConflict
	}
	return ErrFailed
}

// CheckKey returns nil for a key that every daemon takes, and otherwise an error
// that wraps ErrInvalid.
func CheckKey(key string) error {
	if key == "" || len(key) > wire.MaxKey {
		return fmt.Errorf("%w: key of %d bytes, want 1..%d", ErrInvalid, len(key), wire.MaxKey)
	}
	return nil
}
