package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxHeader is the longest header of a frame that is not masked.
const maxHeader = 10

// AppendText appends a text frame. Servers send whole, unmasked frames.
func AppendText[T ~string | ~[]byte](dst []byte, payload T) []byte {
	return append(appendHeader(dst, OpText, len(payload)), payload...)
}

// AppendPong appends the answer to a ping with this payload, which is at most
// 125 bytes in any ping that ParseFrame let through.
func AppendPong(dst, payload []byte) []byte {
	return append(appendHeader(dst, OpPong, len(payload)), payload...)
}

// AppendClose appends a close frame. CloseNoStatus gives one without a payload.
// A reason over 123 bytes is cut between two characters.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == CloseNoStatus {
		return appendHeader(dst, OpClose, 0)
	}
	if cut := maxControl - 2; len(reason) > cut {
		for cut > 0 && !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	dst = appendHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// appendHeader appends the header of a whole, unmasked frame:
//
//	FIN 1, RSV 000, op | MASK 0, n < 126       or
//	FIN 1, RSV 000, op | MASK 0, 126 | n in 16 bits   or
//	FIN 1, RSV 000, op | MASK 0, 127 | n in 64 bits
func appendHeader(dst []byte, op Opcode, n int) []byte {
	dst = append(dst, finBit|byte(op))
	switch {
	case n <= maxControl:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, length16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, length64), uint64(n))
}
