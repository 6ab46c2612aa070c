package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"gopush-cluster/internal/wire"
)

// FuzzTCPLink reads whatever a server may send: each thing is a reply or a
// body, never both, and it ends with a known error.
func FuzzTCPLink(f *testing.F) {
	f.Add([]byte("+h\r\n" + string(wire.NewBody([]byte("1"), 0, false).AppendTCP(nil, 80))))
	f.Add([]byte("$99999999999999999999\r\n"))
	f.Add([]byte("$4\r\nabcd"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := &tcpLink{r: bufio.NewReader(bytes.NewReader(in))}
		taken := 0
		for {
			reply, body, err := l.next()
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%q: unknown error %v", in, err)
				}
				if errors.Is(err, ErrClosed) && taken > len(in) {
					t.Fatalf("%q: %d bytes were made of %d", in, taken, len(in))
				}
				return
			}
			if (reply == "") == (body == nil) {
				t.Fatalf("%q gives reply %q and body %q", in, reply, body)
			}
			taken += len(reply) + len(body)
		}
	})
}
