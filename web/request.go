package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"gopush-cluster/internal/wire"
)

const (
	maxToken = 2048 // bytes of a token: it has to fit into a sub command of 4 KiB
	// maxSeconds is the longest life of a message or a token: 100 years, which
	// takes in the largest int32 that some back-ends send for "for ever".
	maxSeconds = 100 * 365 * 24 * 3600
	maxID      = 255 // bytes of the id that a caller gives a push
)

// names are the query parameters of a family of URLs.
type names struct{ key, proto, mid, token, expire, callback string }

// The versioned URLs, and the old ones that came before them. Neither looks at
// the other's names: unknown parameters are ignored. Old clients never had a
// token for msg/get; one that can be changed may send it.
var (
	versioned   = names{key: "k", proto: "p", mid: "m", token: "t", expire: "e", callback: "cb"}
	unversioned = names{key: "key", proto: "proto", mid: "mid", token: "t", callback: "callback"}
	admin       = names{key: "key", expire: "expire"}
)

// request is one request as a handler sees it.
type request struct {
	*http.Request
	names names
	query url.Values
	w     http.ResponseWriter // for body: ends the connection when too much comes
}

// newRequest parses the query. Pairs that cannot be decoded are left out, and
// are missed if they were needed.
func newRequest(w http.ResponseWriter, r *http.Request, n names) *request {
	query, _ := url.ParseQuery(r.URL.RawQuery) // the error names a pair that is left out
	return &request{Request: r, names: n, query: query, w: w}
}

// key returns the key, 1 to 255 bytes.
func (q *request) key() (string, error) {
	key := q.query.Get(q.names.key)
	if key == "" || len(key) > wire.MaxKey {
		return "", fmt.Errorf("%w: %s: want 1 to %d bytes, got %d", errParam, q.names.key, wire.MaxKey, len(key))
	}
	return key, nil
}

// mid returns the last mid that the client saw, 0 for none.
func (q *request) mid() (int64, error) {
	return integer(q.names.mid, q.query.Get(q.names.mid), 0, 1<<63-1)
}

// token returns the token, which must not be empty.
func (q *request) token() (string, error) {
	t := q.query.Get(q.names.token)
	if t == "" || len(t) > maxToken {
		return "", fmt.Errorf("%w: %s: want a token of 1 to %d bytes, got %d", errParam, q.names.token, maxToken, len(t))
	}
	return t, nil
}

// id returns the id that the caller gives a push, "" if it gives none.
func (q *request) id() (string, error) {
	const header, param = "Idempotency-Key", "id"
	id, from := "", ""
	for _, given := range []struct {
		name   string
		values []string
	}{{header, q.Header.Values(header)}, {param, q.query[param]}} {
		for _, v := range given.values {
			switch {
			case v == "":
			case len(v) > maxID:
				return "", fmt.Errorf("%w: %s: want 1 to %d bytes, got %d", errParam, given.name, maxID, len(v))
			case id != "" && v != id:
				// Either may be the one that the caller will repeat.
				return "", fmt.Errorf("%w: %s and %s differ: give the id once, or twice the same", errParam, from, given.name)
			default:
				id, from = v, given.name
			}
		}
	}
	return id, nil
}

// seconds returns the named parameter as a time to live.
func (q *request) seconds(name string, least int64) (int64, error) {
	return integer(name, q.query.Get(name), least, maxSeconds)
}

func integer(name, s string, lo, hi int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%w: %s: want an integer from %d to %d", errParam, name, lo, hi)
	}
	return n, nil
}

// body reads the body as it is, whatever its Content-Type says.
func (q *request) body(limit int64) ([]byte, error) {
	if q.ContentLength > limit {
		q.w.Header()["Connection"] = closing
		return nil, errTooLarge
	}
	b, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body broke off: %w", errParam, err)
	}
	return b, nil
}
