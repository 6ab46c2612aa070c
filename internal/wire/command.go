package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

const (
	// MaxCommand is the largest command in bytes, all lines and lengths included.
	MaxCommand = 4096
	// MaxArgs is the largest number of arguments, the command's name included.
	MaxArgs = 7

	// maxDigits bounds a number line. It leaves room for leading zeros, which
	// are harmless, and ends a stream of digits early.
	maxDigits = 10
	// minArg is what the shortest argument takes: $0\r\n\r\n
	minArg = 6
)

// ErrProtocol means that the bytes cannot become a command. The server closes
// without a reply.
var ErrProtocol = errors.New("wire: not a command")

// ParseCommand reads one command from the start of buf:
//
//	*<n>\r\n  then n times  $<byte length>\r\n<bytes>\r\n
//
// It returns the arguments, which point into buf, and the number of bytes the
// command took; what follows are the client's first heartbeats. With n == 0 and
// no error it needs more. It wraps ErrProtocol as soon as no further byte could
// help, and at the latest when the command would be longer than MaxCommand.
func ParseCommand(buf []byte) (args [][]byte, n int, err error) {
	count, pos, err := parseNumber(buf, 0, '*', MaxArgs)
	if pos == 0 || err != nil {
		return nil, 0, err
	}
	if count == 0 {
		return nil, 0, fmt.Errorf("%w: no arguments", ErrProtocol)
	}
	// An incomplete command is parsed again when more has come, so it must not
	// allocate.
	var found [MaxArgs][]byte
	for i := range count {
		length, start, err := parseNumber(buf, pos, '$', MaxCommand)
		if start == 0 || err != nil {
			return nil, 0, err
		}
		end := start + length
		if rest := (count - i - 1) * minArg; end+2+rest > MaxCommand {
			return nil, 0, fmt.Errorf("%w: longer than %d bytes", ErrProtocol, MaxCommand)
		}
		whole, err := parseCRLF(buf, end)
		if !whole || err != nil {
			return nil, 0, err
		}
		found[i] = buf[start:end:end]
		pos = end + 2
	}
	return slices.Clone(found[:count]), pos, nil
}

// AppendCommand appends a command as a client sends it.
func AppendCommand(dst []byte, args ...string) []byte {
	number := func(mark byte, n int) {
		dst = strconv.AppendInt(append(dst, mark), int64(n), 10)
		dst = append(dst, "\r\n"...)
	}
	number('*', len(args))
	for _, arg := range args {
		number('$', len(arg))
		dst = append(append(dst, arg...), "\r\n"...)
	}
	return dst
}

// parseNumber reads the line at pos: mark, digits, CRLF. It returns the number
// and where the next line begins, or next == 0 if the line is not whole yet.
func parseNumber(buf []byte, pos int, mark byte, limit int) (number, next int, err error) {
	if pos >= len(buf) {
		return 0, 0, nil
	}
	if buf[pos] != mark {
		return 0, 0, fmt.Errorf("%w: no %q where a line begins", ErrProtocol, mark)
	}
	first := pos + 1
	for i := first; i < len(buf); i++ {
		c := buf[i]
		if c < '0' || c > '9' {
			if i == first {
				return 0, 0, fmt.Errorf("%w: no digits after %q", ErrProtocol, mark)
			}
			whole, err := parseCRLF(buf, i)
			if !whole || err != nil {
				return 0, 0, err
			}
			return number, i + 2, nil
		}
		number = number*10 + int(c-'0')
		if number > limit || i-first == maxDigits {
			return 0, 0, fmt.Errorf("%w: a number after %q over %d", ErrProtocol, mark, limit)
		}
	}
	return 0, 0, nil
}

// parseCRLF reports whether CRLF is at pos; false without an error means that
// it may still come.
func parseCRLF(buf []byte, pos int) (bool, error) {
	for i, want := range []byte("\r\n") {
		if pos+i >= len(buf) {
			return false, nil
		}
		if buf[pos+i] != want {
			return false, fmt.Errorf("%w: no CRLF at byte %d", ErrProtocol, pos)
		}
	}
	return true, nil
}
