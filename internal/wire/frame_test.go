package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseFrame(t *testing.T) {
	long := strings.Repeat("m", 512)
	tests := []struct {
		name string
		in   []byte
		fin  bool
		op   Opcode
		want string
	}{
		{"text", clientFrame(true, OpText, "h"), true, OpText, "h"},
		{"binary", clientFrame(true, OpBinary, "\xff"), true, OpBinary, "\xff"},
		{"empty", clientFrame(true, OpText, ""), true, OpText, ""},
		{"at the limit", clientFrame(true, OpText, long), true, OpText, long},
		{"first fragment", clientFrame(false, OpText, "\xe7"), false, OpText, "\xe7"},
		{"middle fragment", clientFrame(false, OpContinuation, "h"), false, OpContinuation, "h"},
		{"last fragment", clientFrame(true, OpContinuation, "h"), true, OpContinuation, "h"},
		{"ping", clientFrame(true, OpPing, strings.Repeat("p", 125)), true, OpPing, strings.Repeat("p", 125)},
		{"pong", clientFrame(true, OpPong, ""), true, OpPong, ""},
		{"close", clientFrame(true, OpClose, "\x03\xe8"), true, OpClose, "\x03\xe8"},
		{"a length in more bytes than it needs", []byte{0x81, 0xfe, 0, 1, 0, 0, 0, 0, 'h'}, true, OpText, "h"},
		{"a length in far more bytes", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'h'}, true, OpText, "h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.in {
				part := bytes.Clone(tt.in[:i])
				if f, n, err := ParseFrame(part, 512); n != 0 || err != nil {
					t.Fatalf("%d of %d bytes give %+v, %d, %v, want more", i, len(tt.in), f, n, err)
				}
				if !bytes.Equal(part, tt.in[:i]) {
					t.Fatalf("%d of %d bytes: the buffer was changed", i, len(tt.in))
				}
			}
			in := append(bytes.Clone(tt.in), "next"...)
			f, n, err := ParseFrame(in, 512)
			if err != nil || n != len(tt.in) || f.Fin != tt.fin || f.Op != tt.op || string(f.Payload) != tt.want {
				t.Errorf("ParseFrame(%q) = %+v, %d, %v, want %v %v %q, %d", tt.in, f, n, err, tt.fin, tt.op, tt.want, len(tt.in))
			}
			if string(in[n:]) != "next" {
				t.Errorf("what follows became %q", in[n:])
			}
		})
	}
}

// TestParseFrameRefuses wants each error at the last byte of in and not before.
func TestParseFrameRefuses(t *testing.T) {
	length := func(first byte, n uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{first, 0xff}, n)
	}
	tests := []struct {
		name string
		in   []byte
		code uint16
	}{
		{"RSV1", []byte{0xc1}, CloseProtocol},
		{"RSV2", []byte{0xa1}, CloseProtocol},
		{"RSV3", []byte{0x91}, CloseProtocol},
		{"opcode 3", []byte{0x83}, CloseProtocol},
		{"opcode 7", []byte{0x87}, CloseProtocol},
		{"opcode 11", []byte{0x8b}, CloseProtocol},
		{"opcode 15", []byte{0x8f}, CloseProtocol},
		{"a fragmented ping", []byte{0x09}, CloseProtocol},
		{"a fragmented close", []byte{0x08}, CloseProtocol},
		{"no mask", []byte{0x81, 0x01}, CloseProtocol},
		{"a ping of 126 bytes", []byte{0x89, 0xfe}, CloseProtocol},
		{"a close of 64 bit length", []byte{0x88, 0xff}, CloseProtocol},
		{"over the limit", []byte{0x81, 0xfe, 0x02, 0x01}, CloseTooBig},
		{"2^31 bytes", length(0x81, 1<<31), CloseTooBig},
		{"2^63-1 bytes", length(0x82, math.MaxInt64), CloseTooBig},
		{"2^63 bytes", length(0x82, 1<<63), CloseTooBig},
		{"2^64-1 bytes", length(0x80, math.MaxUint64), CloseTooBig},
		{"text that is not UTF-8", clientFrame(true, OpText, "a\xff"), CloseNotUTF8},
		{"half a character", clientFrame(true, OpText, "\xe7\x94"), CloseNotUTF8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.in {
				if f, n, err := ParseFrame(tt.in[:i], 512); n != 0 || err != nil {
					t.Fatalf("%d of %d bytes give %+v, %d, %v, want more", i, len(tt.in), f, n, err)
				}
			}
			f, n, err := ParseFrame(bytes.Clone(tt.in), 512)
			var fe *FrameError
			if !errors.As(err, &fe) || fe.Code != tt.code || n != 0 || f.Payload != nil {
				t.Errorf("ParseFrame(%q) = %+v, %d, %v, want code %d", tt.in, f, n, err, tt.code)
			}
		})
	}
	// Any limit is safe.
	for _, limit := range []int{math.MinInt, -1, 0, math.MaxInt} {
		if f, n, err := ParseFrame(length(0x81, math.MaxInt64), limit); n != 0 || f.Payload != nil {
			t.Errorf("limit %d: %+v, %d, %v", limit, f, n, err)
		}
	}
}

func TestParseClose(t *testing.T) {
	tests := []struct {
		name, in string
		code     uint16
		reason   string
		refused  uint16 // the code to answer with
	}{
		{name: "empty", in: "", code: CloseNoStatus},
		{name: "normal", in: "\x03\xe8", code: CloseNormal},
		{name: "with a reason", in: "\x03\xe9再见", code: CloseGoingAway, reason: "再见"},
		{name: "1003", in: "\x03\xeb", code: 1003},
		{name: "1007", in: "\x03\xef", code: CloseNotUTF8},
		{name: "1014", in: "\x03\xf6", code: 1014},
		{name: "3000", in: "\x0b\xb8", code: 3000},
		{name: "4999", in: "\x13\x87", code: 4999},
		{name: "one byte", in: "\x03", refused: CloseProtocol},
		{name: "0", in: "\x00\x00", refused: CloseProtocol},
		{name: "999", in: "\x03\xe7", refused: CloseProtocol},
		{name: "1004 means nothing", in: "\x03\xec", refused: CloseProtocol},
		{name: "1005 is never sent", in: "\x03\xed", refused: CloseProtocol},
		{name: "1006 is never sent", in: "\x03\xee", refused: CloseProtocol},
		{name: "1015 is never sent", in: "\x03\xf7", refused: CloseProtocol},
		{name: "2999", in: "\x0b\xb7", refused: CloseProtocol},
		{name: "5000", in: "\x13\x88", refused: CloseProtocol},
		{name: "a reason that is not UTF-8", in: "\x03\xe8\xff", refused: CloseNotUTF8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(tt.in))
			if tt.refused == 0 {
				if err != nil || code != tt.code || reason != tt.reason {
					t.Errorf("ParseClose(%q) = %d, %q, %v, want %d, %q", tt.in, code, reason, err, tt.code, tt.reason)
				}
				return
			}
			var fe *FrameError
			if !errors.As(err, &fe) || fe.Code != tt.refused {
				t.Errorf("ParseClose(%q) = %d, %q, %v, want an error of code %d", tt.in, code, reason, err, tt.refused)
			}
		})
	}
}

func TestAppendClose(t *testing.T) {
	tests := []struct {
		name, reason, want string
		code               uint16
	}{
		{"no status", "ignored", "\x88\x00", CloseNoStatus},
		{"a code", "", "\x88\x02\x03\xf4", CloseRestart},
		{"the longest reason", strings.Repeat("r", 123), "\x88\x7d\x03\xe8" + strings.Repeat("r", 123), CloseNormal},
		{"a longer one is cut", strings.Repeat("r", 200), "\x88\x7d\x03\xe8" + strings.Repeat("r", 123), CloseNormal},
		{"between characters", "r" + strings.Repeat("é", 100), "\x88\x7d\x03\xe8r" + strings.Repeat("é", 61), CloseNormal},
		{"before a character", strings.Repeat("é", 100), "\x88\x7c\x03\xe8" + strings.Repeat("é", 61), CloseNormal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AppendClose(nil, tt.code, tt.reason); string(got) != tt.want {
				t.Errorf("AppendClose(%d, %q) = %q, want %q", tt.code, tt.reason, got, tt.want)
			}
		})
	}
}

// FuzzParseFrame masks what the parser returned again, and wants what went in.
func FuzzParseFrame(f *testing.F) {
	f.Add(clientFrame(true, OpText, "h"), 512, 3)
	f.Add(clientFrame(false, OpContinuation, strings.Repeat("m", 200)), 512, 6)
	f.Add(binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, math.MaxUint64), math.MaxInt, 4)
	f.Fuzz(func(t *testing.T, in []byte, limit, cut int) {
		buf := bytes.Clone(in)
		frame, n, err := ParseFrame(buf, limit)
		var fe *FrameError
		switch {
		case err != nil:
			if !errors.As(err, &fe) || n != 0 || fe.Code != CloseProtocol && fe.Code != CloseTooBig && fe.Code != CloseNotUTF8 {
				t.Fatalf("ParseFrame(%q, %d) = %d, %v: an unknown error, or one with a result", in, limit, n, err)
			}
		case n == 0:
			if !bytes.Equal(buf, in) {
				t.Fatalf("ParseFrame(%q, %d) needs more and changed the buffer", in, limit)
			}
		default:
			if n > len(in) || !frame.Op.Control() && len(frame.Payload) > limit || frame.Op.Control() && (len(frame.Payload) > 125 || !frame.Fin) {
				t.Fatalf("ParseFrame(%q, %d) = %+v, %d: outside its limits", in, limit, frame, n)
			}
			start := n - len(frame.Payload)
			for i, b := range frame.Payload {
				if b^in[start-4+i%4] != in[start+i] {
					t.Fatalf("ParseFrame(%q, %d): payload %q is not what was sent", in, limit, frame.Payload)
				}
			}
			if !bytes.Equal(buf[n:], in[n:]) || !bytes.Equal(buf[:start], in[:start]) {
				t.Fatalf("ParseFrame(%q, %d) changed bytes outside the payload", in, limit)
			}
		}
		if cut < 0 || cut > len(in) {
			return
		}
		_, m, firstErr := ParseFrame(bytes.Clone(in[:cut]), limit)
		if firstErr != nil && err == nil || m != 0 && m != n || m == 0 && firstErr == nil && n != 0 && cut >= n {
			t.Fatalf("ParseFrame(%q, %d) = %d, %v, but cut at %d it is %d, %v", in, limit, n, err, cut, m, firstErr)
		}
	})
}
