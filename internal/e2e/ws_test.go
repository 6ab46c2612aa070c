package e2e

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"
)

// Opcodes of RFC 6455.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

// wsClient speaks docs/protocol.md, "Comet over WebSocket".
type wsClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// upgrade sends the request of a WebSocket client and returns the connection
// and the answer.
func upgrade(t testing.TB, addr, query string, headers ...string) (*wsClient, *http.Response) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &wsClient{t: t, conn: conn, in: bufio.NewReader(conn)}
	res, err := c.upgrade(query, headers...)
	if err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	return c, res
}

// upgrade sends the request and reads the answer. Any goroutine.
func (c *wsClient) upgrade(query string, headers ...string) (*http.Response, error) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	req := fmt.Sprintf("GET /sub?%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", query, c.conn.RemoteAddr(), key)
	for _, h := range headers {
		req += h + "\r\n"
	}
	if _, err := io.WriteString(c.conn, req+"\r\n"); err != nil {
		return nil, err
	}
	c.deadline(patience)
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		if got, want := res.Header.Get("Sec-WebSocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
			return nil, fmt.Errorf("Sec-WebSocket-Accept = %q, want %q", got, want)
		}
	}
	return res, nil
}

// dialWS connects and wants the upgrade to succeed.
func dialWS(t testing.TB, addr, query string, headers ...string) *wsClient {
	t.Helper()
	c, res := upgrade(t, addr, query, headers...)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade of %q: %s", query, res.Status)
	}
	return c
}

// subscribeWS connects to the key's comet and wants to be accepted. query is
// added to the address.
func (c *cluster) subscribeWS(key, query string) *wsClient {
	c.t.Helper()
	cl := dialWS(c.t, c.owner(key).ws, "key="+url.QueryEscape(key)+"&heartbeat=30"+query)
	cl.want("+h\r\n")
	return cl
}

func (c *wsClient) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// send sends one masked frame.
func (c *wsClient) send(opcode byte, payload string) {
	c.t.Helper()
	c.raw(clientFrame(0x80|opcode, payload))
}

// clientFrame returns a masked frame whose first byte is given.
func clientFrame(first byte, payload string) string {
	frame := []byte{first}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:])
	frame = append(frame, mask[:]...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^mask[i%4])
	}
	return string(frame)
}

// frame reads one frame within d. It must be whole, unmasked and as short as it
// can be. Any goroutine.
func (c *wsClient) frame(d time.Duration) (opcode byte, payload string, err error) {
	c.deadline(d)
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, "", err
	}
	if head[0]&0xF0 != 0x80 || head[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("frame begins with % x, want FIN, no RSV and no mask", head)
	}
	n := uint64(head[1])
	if n >= 126 {
		ext := make([]byte, 8)
		if n == 126 {
			ext = ext[:2]
		}
		if _, err := io.ReadFull(c.in, ext); err != nil {
			return 0, "", err
		}
		least := uint64(126)
		if len(ext) == 2 {
			n = uint64(binary.BigEndian.Uint16(ext))
		} else {
			n, least = binary.BigEndian.Uint64(ext), 1<<16
		}
		if n < least {
			return 0, "", fmt.Errorf("length %d in %d bytes", n, len(ext))
		}
	}
	b := make([]byte, n)
	_, err = io.ReadFull(c.in, b)
	return head[0] & 0x0F, string(b), err
}

// wantFrame wants this frame to come next.
func (c *wsClient) wantFrame(opcode byte, payload string) {
	c.t.Helper()
	op, got, err := c.frame(patience)
	if err != nil || op != opcode || got != payload {
		c.t.Fatalf("read opcode %#x %q, %v, want %#x %q", op, got, err, opcode, payload)
	}
}

// want wants a text frame of s to come next.
func (c *wsClient) want(s string) {
	c.t.Helper()
	c.wantFrame(opText, s)
}

// wantClose wants a close frame, whose code it returns (0: none), and then the
// end of the connection.
func (c *wsClient) wantClose() int {
	c.t.Helper()
	op, got, err := c.frame(patience)
	if err != nil || op != opClose || len(got) == 1 {
		c.t.Fatalf("read opcode %#x %q, %v, want a close frame", op, got, err)
	}
	c.deadline(patience)
	if rest, err := io.ReadAll(c.in); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
		c.t.Fatalf("read %q, %v behind the close frame, want the end", rest, err)
	}
	if len(got) == 0 {
		return 0
	}
	return int(binary.BigEndian.Uint16([]byte(got)))
}

// wantEnd wants the connection to end, with a close frame or without.
func (c *wsClient) wantEnd() {
	c.t.Helper()
	for {
		op, payload, err := c.frame(patience)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Fatal("the connection stays open")
		case err != nil:
			return
		case op != opClose:
			c.t.Fatalf("read opcode %#x %q, want the end", op, payload)
		}
	}
}

func (c *wsClient) beat() {
	c.t.Helper()
	c.send(opText, "h")
	c.want("+h\r\n")
}

// body reads one message and returns its body.
func (c *wsClient) body() string {
	c.t.Helper()
	body, err := c.read(patience)
	if err != nil {
		c.t.Fatal(err)
	}
	return body
}

// read reads one message within d and returns its body. Any goroutine.
func (c *wsClient) read(d time.Duration) (string, error) {
	op, body, err := c.frame(d)
	if err == nil && op != opText {
		err = fmt.Errorf("read opcode %#x %q, want a text frame", op, body)
	}
	return body, err
}

// wantSilence wants nothing to come for d, and the connection to stay open.
func (c *wsClient) wantSilence(d time.Duration) {
	c.t.Helper()
	if op, got, err := c.frame(d); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read opcode %#x %q, %v, want silence", op, got, err)
	}
}

func (c *wsClient) close() { c.conn.Close() }

func (c *wsClient) deadline(d time.Duration) {
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Errorf("deadline: %v", err)
	}
}
