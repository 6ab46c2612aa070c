package registry

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"
	"time"
)

// expire ends the session of c as the server does when it has heard nothing
// for too long: a second connection takes the session over and closes it.
func expire(t *testing.T, addr string, c *client) {
	t.Helper()
	if err := endSession(addr, c.session(), password(c)); err != nil {
		t.Fatalf("expire: %v", err)
	}
}

// password is what the server gave c with its session. The library keeps it to
// itself.
func password(c *client) []byte {
	return reflect.ValueOf(c.conn).Elem().FieldByName("passwd").Bytes()
}

func endSession(addr string, session int64, password []byte) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))  // an error shows at the next write
	hello := binary.BigEndian.AppendUint32(nil, 0)  // protocol
	hello = binary.BigEndian.AppendUint64(hello, 0) // last zxid seen
	hello = binary.BigEndian.AppendUint32(hello, 5000)
	hello = binary.BigEndian.AppendUint64(hello, uint64(session))
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(password)))
	hello = append(hello, password...)
	if err := send(conn, hello); err != nil {
		return err
	}
	answer, err := receive(conn)
	if err != nil {
		return err
	}
	if got := int64(binary.BigEndian.Uint64(answer[8:])); got != session {
		return fmt.Errorf("the server gave session %x, want %x", got, session)
	}
	bye := binary.BigEndian.AppendUint32(nil, 1) // xid
	const closeSession = -11
	code := int32(closeSession)
	bye = binary.BigEndian.AppendUint32(bye, uint32(code))
	if err := send(conn, bye); err != nil {
		return err
	}
	_, err = receive(conn)
	return err
}

func send(w io.Writer, packet []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...))
	return err
}

func receive(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, packet)
	return packet, err
}
