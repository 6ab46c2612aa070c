package wire

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// MinHeartbeat is the shortest time between heartbeats that a client may ask for.
	MinHeartbeat = 30 * time.Second
	// MaxHeartbeat is what a longer one is taken for. There is no upper bound on
	// the wire; this one keeps deadlines clear of the end of int64 nanoseconds.
	MaxHeartbeat = 100 * 365 * 24 * time.Hour
	// MaxKey is the length of the longest key, in bytes.
	MaxKey = 255
	// NoMid stands for a mid or pmid that the client did not give.
	NoMid = int64(-1)
)

// ErrParam means that a parameter of a subscription is wrong or missing. Wire: -p.
var ErrParam = errors.New("wire: bad parameter")

// Sub is what a client subscribes with.
type Sub struct {
	Key       string        // 1..MaxKey bytes
	Heartbeat time.Duration // MinHeartbeat..MaxHeartbeat, whole seconds
	Token     string        // may be empty
	Version   string        // empty: an old client
	Mid       int64         // resume private messages after it; NoMid: not asked for
	Pmid      int64         // resume public messages after it; NoMid: not asked for
}

// Old reports whether the client takes message bodies in the old form.
func (s Sub) Old() bool { return s.Version == "" }

// ParseSub reads the arguments of a command. They are positional: a fourth one
// is the token, even from the clients in the field that mean a version by it.
// It wraps ErrParam if the command is not sub or an argument is wrong.
func ParseSub(args [][]byte) (Sub, error) {
	if len(args) == 0 || string(args[0]) != "sub" {
		return Sub{}, fmt.Errorf("%w: unknown command", ErrParam)
	}
	arg := func(i int) string {
		if i < len(args) {
			return string(args[i])
		}
		return ""
	}
	return newSub(arg(1), arg(2), arg(3), arg(4), arg(5), arg(6))
}

// SubFromQuery reads the query of GET /sub. It wraps ErrParam as ParseSub does.
func SubFromQuery(q url.Values) (Sub, error) {
	return newSub(q.Get("key"), q.Get("heartbeat"), q.Get("token"), q.Get("ver"), q.Get("mid"), q.Get("pmid"))
}

// newSub checks what either way gave; an empty optional one is a missing one.
func newSub(key, heartbeat, token, version, mid, pmid string) (Sub, error) {
	s := Sub{Key: key, Token: token, Version: version}
	if key == "" || len(key) > MaxKey {
		return Sub{}, fmt.Errorf("%w: key of %d bytes, want 1..%d", ErrParam, len(key), MaxKey)
	}
	var err error
	if s.Heartbeat, err = parseHeartbeat(heartbeat); err != nil {
		return Sub{}, err
	}
	if s.Mid, err = parseMid("mid", mid); err != nil {
		return Sub{}, err
	}
	if s.Pmid, err = parseMid("pmid", pmid); err != nil {
		return Sub{}, err
	}
	return s, nil
}

// parseHeartbeat reads whole seconds.
func parseHeartbeat(s string) (time.Duration, error) {
	seconds, err := strconv.ParseInt(s, 10, 64)
	tooLarge := errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(s, "-")
	switch {
	case err != nil && !tooLarge:
		return 0, fmt.Errorf("%w: heartbeat is not a number of seconds", ErrParam)
	case seconds < int64(MinHeartbeat/time.Second):
		return 0, fmt.Errorf("%w: heartbeat of %d seconds, want at least %d", ErrParam, seconds, MinHeartbeat/time.Second)
	case seconds > int64(MaxHeartbeat/time.Second):
		return MaxHeartbeat, nil
	}
	return time.Duration(seconds) * time.Second, nil
}

// parseMid reads the mid that the parameter name holds.
func parseMid(name, s string) (int64, error) {
	if s == "" {
		return NoMid, nil
	}
	mid, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is not an integer of 0..2^63-1", ErrParam, name)
	}
	return int64(mid), nil
}
