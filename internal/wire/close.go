package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Close codes (RFC 6455, 7.4, and its registry).
const (
	CloseNormal    uint16 = 1000
	CloseGoingAway uint16 = 1001
	CloseProtocol  uint16 = 1002 // a frame that breaks the RFC
	CloseNoStatus  uint16 = 1005 // never sent: stands for a close frame without a code
	CloseNotUTF8   uint16 = 1007
	ClosePolicy    uint16 = 1008 // the subscription was refused
	CloseTooBig    uint16 = 1009
	CloseRestart   uint16 = 1012 // go elsewhere: the key moves, or the comet is drained
)

// ParseClose reads the payload of a close frame from a client. Errors are of
// type *FrameError and hold the code to answer with.
func ParseClose(payload []byte) (code uint16, reason string, err error) {
	switch len(payload) {
	case 0:
		return CloseNoStatus, "", nil
	case 1:
		return 0, "", &FrameError{CloseProtocol, "half a close code"}
	}
	code = binary.BigEndian.Uint16(payload)
	if !validClose(code) {
		return 0, "", &FrameError{CloseProtocol, "invalid close code"}
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", &FrameError{CloseNotUTF8, "close reason is not UTF-8"}
	}
	return code, string(payload[2:]), nil
}

// validClose reports whether a peer may send code: those that are registered
// for the wire, and those that libraries and applications make up.
func validClose(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}
