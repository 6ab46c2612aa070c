package wire

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Body is a message as its receivers see it, but for the mid:
//
//	{"msg":<JSON>,"mid":<mid>,"gid":<gid>}
//	        head        digits   tail
//
// It is never changed, so sessions and goroutines share one.
type Body struct{ head, tail []byte }

// NewBody renders the message. canonical is what msg.Canonical returned; gid is
// 0 for a private message, 1 for a public one. An old client gets the message as
// a JSON string that holds the JSON.
func NewBody(canonical []byte, gid int, old bool) Body {
	if old {
		quoted, err := json.Marshal(string(canonical))
		if err != nil {
			panic("wire: a string cannot be marshalled: " + err.Error())
		}
		canonical = quoted
	}
	const before, between, after = `{"msg":`, `,"mid":`, `,"gid":`
	b := make([]byte, 0, len(before)+len(canonical)+len(between)+len(after)+maxMid+1)
	b = append(append(append(b, before...), canonical...), between...)
	head := len(b)
	b = append(strconv.AppendInt(append(b, after...), int64(gid), 10), '}')
	return Body{head: b[:head:head], tail: b[head:]}
}

// maxMid is the room for the digits of any int64.
const maxMid = 20

// AppendJSON appends the bare body.
func (b Body) AppendJSON(dst []byte, mid int64) []byte {
	var digits [maxMid]byte
	return b.append(dst, strconv.AppendInt(digits[:0], mid, 10))
}

// AppendTCP appends the message as a TCP client reads it:
//
//	$<byte length of body>\r\n<body>\r\n
func (b Body) AppendTCP(dst []byte, mid int64) []byte {
	var digits [maxMid]byte
	m := strconv.AppendInt(digits[:0], mid, 10)
	n := b.len(m)
	dst = slices.Grow(dst, 1+maxMid+2+n+2)
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(dst, "\r\n"...)
	dst = b.append(dst, m)
	return append(dst, "\r\n"...)
}

// AppendWS appends the message as one text frame.
func (b Body) AppendWS(dst []byte, mid int64) []byte {
	var digits [maxMid]byte
	m := strconv.AppendInt(digits[:0], mid, 10)
	n := b.len(m)
	dst = slices.Grow(dst, maxHeader+n)
	return b.append(appendHeader(dst, OpText, n), m)
}

func (b Body) len(digits []byte) int { return len(b.head) + len(digits) + len(b.tail) }

func (b Body) append(dst, digits []byte) []byte {
	dst = slices.Grow(dst, b.len(digits))
	return append(append(append(dst, b.head...), digits...), b.tail...)
}
