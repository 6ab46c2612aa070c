package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// MaxBody is the largest message accepted, in bytes of the pushed JSON as the
// back-end sent it.
const MaxBody = 1 << 20

var (
	// ErrNotJSON means the pushed bytes are not one JSON value.
	ErrNotJSON = errors.New("msg: the message is not valid JSON")
	// ErrNotUTF8 means the pushed bytes are not UTF-8, which JSON requires.
	ErrNotUTF8 = errors.New("msg: the message is not valid UTF-8")
	// ErrTooLarge means the pushed bytes are more than MaxBody.
	ErrTooLarge = errors.New("msg: the message is larger than 1 MiB")
)

// Message is one stored message of a key.
type Message struct {
	Body    json.RawMessage // canonical JSON, see Canonical; never empty
	Mid     int64           // 100 ns units since 1970
	Expires int64           // unix second after which it is never served; 0: never expires (only foreign members)
	Nonce   string          // [0-9A-Za-z_-]{0,64}; tells a repeated save from an equal message
}

// Expired reports whether m must no longer be served at now, in unix seconds.
func (m Message) Expired(now int64) bool { return m.Expires != 0 && m.Expires <= now }

// Canonical returns raw without insignificant white space and with <, >, &,
// U+2028 and U+2029 escaped as encoding/json does: one line, safe inside HTML.
// It is idempotent. Errors: ErrTooLarge, ErrNotUTF8, ErrNotJSON.
func Canonical(raw []byte) (json.RawMessage, error) {
	if len(raw) > MaxBody {
		return nil, ErrTooLarge
	}
	return canonical(raw)
}

// canonical is Canonical without the limit: escaping may have grown what a
// store gives back.
func canonical(raw []byte) (json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, ErrNotUTF8
	}
	var compact, out bytes.Buffer
	compact.Grow(len(raw))
	if err := json.Compact(&compact, raw); err != nil {
		return nil, ErrNotJSON
	}
	out.Grow(compact.Len())
	json.HTMLEscape(&out, compact.Bytes())
	return out.Bytes(), nil
}

// Stored returns a body that a store gave back as Canonical would, at whatever
// length: escaping may have made it longer than what came. Raw is returned where
// it is that already. Errors: ErrNotUTF8, ErrNotJSON.
func Stored(raw []byte) (json.RawMessage, error) {
	if Check(raw) == nil {
		return raw, nil
	}
	return canonical(raw)
}

// Check returns ErrNotUTF8 or ErrNotJSON unless body is what Canonical returns
// for it. Where a peer or a store says that it is, this costs less than doing it
// again.
func Check(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return ErrNotUTF8
	case !json.Valid(body) || !escaped(body):
		return ErrNotJSON
	}
	return nil
}

// escaped reports whether valid JSON holds none of the bytes that Canonical
// takes out: white space between its values, and what it escapes in strings.
func escaped(body []byte) bool {
	inside := false // a string
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == ' ' && !inside:
			return false
		case c == '"':
			inside = !inside
		case c == '\\':
			i++ // an escaped quote ends nothing
		case c == 0xe2 && (bytes.HasPrefix(body[i:], []byte("\u2028")) || bytes.HasPrefix(body[i:], []byte("\u2029"))):
			return false
		}
	}
	return true
}
