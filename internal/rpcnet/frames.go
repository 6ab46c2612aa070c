package rpcnet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// errTooLarge means that the peer announced more than it may send.
var errTooLarge = errors.New("rpcnet: message over the limit")

// frames passes a gob stream on, and ends it at the first message whose
// announced length is over what is left of the budget: gob itself would start
// to read up to 8 GiB.
//
// A gob message is its length and that many bytes. A length up to 127 is one
// byte; a longer one is a byte that holds the negated count of the bytes which
// follow, big-endian.
type frames struct {
	r      *bufio.Reader
	budget uint64 // bytes that the messages up to the next allow may still have

	head    [9]byte
	pending []byte // of head, read and not handed out yet
	left    uint64 // of the message's body
	err     error  // sticky: after it the stream is out of step
}

// allow sets the budget for the messages that follow.
func (f *frames) allow(budget int64) { f.budget = uint64(max(budget, 0)) }

// Read implements io.Reader. It never reads past the end of a message.
func (f *frames) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(f.pending) == 0 && f.left == 0 && f.err == nil {
		f.err = f.next()
	}
	if f.err != nil {
		return 0, f.err
	}
	if len(f.pending) > 0 {
		n := copy(p, f.pending)
		f.pending = f.pending[n:]
		return n, nil
	}
	if uint64(len(p)) > f.left {
		p = p[:f.left]
	}
	n, err := f.r.Read(p)
	f.left -= uint64(n)
	f.err = err
	return n, err
}

// ReadByte keeps gob from putting a buffer of its own in front.
func (f *frames) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(f, b[:])
	return b[0], err
}

// next reads the length of the next message.
func (f *frames) next() error {
	first, err := f.r.ReadByte()
	if err != nil {
		return err
	}
	f.head[0] = first
	width, length := 0, uint64(first)
	if first > 0x7f {
		if width = -int(int8(first)); width > 8 {
			return fmt.Errorf("rpcnet: length of %d bytes, want at most 8", width)
		}
		if _, err := io.ReadFull(f.r, f.head[1:1+width]); err != nil {
			return io.ErrUnexpectedEOF
		}
		length = 0
		for _, b := range f.head[1 : 1+width] {
			length = length<<8 | uint64(b)
		}
	}
	if length > f.budget {
		return fmt.Errorf("%w: %d bytes announced, %d left", errTooLarge, length, f.budget)
	}
	f.budget -= length
	f.pending, f.left = f.head[:1+width], length
	return nil
}

// makeMaps gives the nil maps of the struct that v points to. Gob makes a
// missing map as large as the peer announces, before it has seen one entry,
// and fills one that is there.
func makeMaps(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			makeMaps(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			makeMaps(v.Field(i))
		}
	case reflect.Map:
		if v.IsNil() && v.CanSet() { // not so in a field that is not exported
			v.Set(reflect.MakeMap(v.Type()))
		}
	}
}
