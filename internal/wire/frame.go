package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Opcode says what a frame is (RFC 6455, 5.2).
type Opcode byte

const (
	OpContinuation Opcode = 0x0 // goes on with the message that a frame without Fin began
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xa
)

// Control reports whether op is a control frame, which may come between the
// frames of a fragmented message.
func (op Opcode) Control() bool { return op&0x8 != 0 }

const (
	finBit     = 0x80
	rsvBits    = 0x70
	opBits     = 0x0f
	maskBit    = 0x80
	length16   = 126
	length64   = 127
	maxControl = 125 // longest payload of a control frame, and longest length in 7 bits
)

// Frame is one frame from a client, unmasked.
type Frame struct {
	Fin     bool // the last frame of its message
	Op      Opcode
	Payload []byte // points into the buffer that was parsed
}

// FrameError says why a client is sent away, and with which close code.
type FrameError struct {
	Code   uint16 // CloseProtocol, CloseNotUTF8 or CloseTooBig
	Reason string
}

func (e *FrameError) Error() string { return fmt.Sprintf("wire: close %d: %s", e.Code, e.Reason) }

// ParseFrame reads one client frame from the start of buf, unmasks its payload
// in place and returns the number of bytes it took. With n == 0 and no error it
// needs more and has changed nothing. A payload over limit bytes is refused from
// its header. Errors are of type *FrameError.
//
// It judges each frame alone. Whoever assembles a fragmented message (Fin false,
// then continuations) bounds it, refuses a continuation of nothing or a message
// inside another one, and checks text with CheckText at its end.
func ParseFrame(buf []byte, limit int) (f Frame, n int, err error) {
	if len(buf) == 0 {
		return Frame{}, 0, nil
	}
	f.Fin, f.Op = buf[0]&finBit != 0, Opcode(buf[0]&opBits)
	if err := checkHead(buf[0]); err != nil {
		return Frame{}, 0, err
	}
	if len(buf) < 2 {
		return Frame{}, 0, nil
	}
	if buf[1]&maskBit == 0 {
		return Frame{}, 0, &FrameError{CloseProtocol, "a client must mask its frames"}
	}
	length, pos, err := parseLength(buf, f.Op)
	if pos == 0 || err != nil {
		return Frame{}, 0, err
	}
	if !f.Op.Control() && length > uint64(max(limit, 0)) {
		return Frame{}, 0, &FrameError{CloseTooBig, "frame too large"}
	}
	const maskLen = 4
	start := pos + maskLen
	if len(buf) < start || uint64(len(buf)-start) < length {
		return Frame{}, 0, nil
	}
	end := start + int(length)
	f.Payload = buf[start:end:end]
	for i := range f.Payload {
		f.Payload[i] ^= buf[pos+i%maskLen]
	}
	if f.Op == OpText && f.Fin {
		if err := CheckText(f.Payload); err != nil {
			return Frame{}, 0, err
		}
	}
	return f, end, nil
}

// checkHead refuses a first byte that no client may send.
func checkHead(b byte) error {
	op := Opcode(b & opBits)
	switch {
	case b&rsvBits != 0:
		return &FrameError{CloseProtocol, "reserved bits are set"} // no extension was agreed on
	case op > OpBinary && op < OpClose || op > OpPong:
		return &FrameError{CloseProtocol, "unknown opcode"}
	case op.Control() && b&finBit == 0:
		return &FrameError{CloseProtocol, "fragmented control frame"}
	}
	return nil
}

// parseLength reads the payload length behind the first byte. It returns where
// the mask begins, or next == 0 if the length is not whole yet. A length in more
// bytes than it needs is accepted: old clients were never told off for it.
func parseLength(buf []byte, op Opcode) (length uint64, next int, err error) {
	short := buf[1] &^ maskBit
	if op.Control() && short > maxControl {
		return 0, 0, &FrameError{CloseProtocol, "control frame too large"}
	}
	switch {
	case short == length16 && len(buf) >= 4:
		return uint64(binary.BigEndian.Uint16(buf[2:])), 4, nil
	case short == length64 && len(buf) >= 10:
		return binary.BigEndian.Uint64(buf[2:]), 10, nil // past 2^63 it is over any limit
	case short <= maxControl:
		return uint64(short), 2, nil
	}
	return 0, 0, nil
}

// CheckText returns an error of type *FrameError if the payload of a whole text
// message is not UTF-8.
func CheckText(payload []byte) error {
	if !utf8.Valid(payload) {
		return &FrameError{CloseNotUTF8, "text is not UTF-8"}
	}
	return nil
}
