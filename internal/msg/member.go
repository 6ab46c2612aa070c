package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrMember means that a stored member is no JSON object with a msg.
var ErrMember = errors.New("msg: not a stored message")

// member is a message as a store keeps it. An old daemon writes and reads msg
// and expire only; it knows the mid from the score.
type member struct {
	Mid    int64           `json:"mid"`
	Nonce  string          `json:"nonce"`
	Expire int64           `json:"expire"`
	Msg    json.RawMessage `json:"msg"`
}

// AppendMember appends m as a store keeps it:
//
//	{"mid":<mid>,"nonce":"<nonce>","expire":<unix second>,"msg":<JSON>}
//
// mid, nonce and expire come first and in this order, so that a store can find
// them without parsing the JSON of the message, whatever that holds.
func AppendMember(dst []byte, m Message) []byte {
	dst = append(dst, `{"mid":`...)
	dst = strconv.AppendInt(dst, m.Mid, 10)
	return append(dst, MemberTail(m)...)
}

// MemberTail is AppendMember without `{"mid":<mid>`, for a store that decides
// the mid itself.
func MemberTail(m Message) []byte {
	tail := make([]byte, 0, len(m.Body)+len(m.Nonce)+48)
	tail = append(tail, `,"nonce":"`...)
	tail = append(tail, m.Nonce...)
	tail = append(tail, `","expire":`...)
	tail = strconv.AppendInt(tail, m.Expires, 10)
	tail = append(tail, `,"msg":`...)
	tail = append(tail, m.Body...)
	return append(tail, '}')
}

// SplitMember reads a member that AppendMember wrote, without a look at the JSON
// of the message: what is stored was canonical when it came. Where others
// can write to the store, ParseMember checks that it still is. The Body lies in
// raw. It reports false for anything else, such as an old daemon's member.
func SplitMember(raw []byte) (Message, bool) {
	head, body, ok := bytes.Cut(raw, []byte(`,"msg":`))
	if !ok || len(body) < 2 || body[len(body)-1] != '}' {
		return Message{}, false
	}
	head, ok = bytes.CutPrefix(head, []byte(`{"mid":`))
	if !ok {
		return Message{}, false
	}
	mid, head, ok1 := bytes.Cut(head, []byte(`,"nonce":"`))
	nonce, expire, ok2 := bytes.Cut(head, []byte(`","expire":`))
	if !ok1 || !ok2 || !ValidNonce(string(nonce)) {
		return Message{}, false
	}
	m := Message{Body: body[:len(body)-1], Nonce: string(nonce)}
	var err1, err2 error
	m.Mid, err1 = strconv.ParseInt(string(mid), 10, 64)
	m.Expires, err2 = strconv.ParseInt(string(expire), 10, 64)
	return m, err1 == nil && err2 == nil
}

// ParseMember reads a member, ours or an old daemon's, stored under score. The
// mid is the score for an old daemon's member, which carries none. It returns
// ErrMember when raw is neither.
func ParseMember(raw []byte, score int64) (Message, error) {
	if m, ok := SplitMember(raw); ok && Check(m.Body) == nil {
		return m, nil
	}
	var m member
	if err := json.Unmarshal(raw, &m); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMember, err)
	}
	if len(m.Msg) == 0 {
		return Message{}, fmt.Errorf("%w: no msg", ErrMember)
	}
	body, err := canonical(m.Msg)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMember, err)
	}
	out := Message{Body: body, Mid: m.Mid, Expires: m.Expire, Nonce: m.Nonce}
	if out.Mid == 0 {
		out.Mid = score
	}
	return out, nil
}

// ValidNonce reports whether s may be kept as a nonce.
func ValidNonce(s string) bool {
	if len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
