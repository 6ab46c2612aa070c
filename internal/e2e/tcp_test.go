package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second // for what should come at once, on a busy machine

// tcpClient speaks docs/protocol.md, "Comet over TCP".
type tcpClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// command returns args in the shape of a Redis request.
func command(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

func dialTCP(t testing.TB, addr string) *tcpClient {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &tcpClient{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// subscribe connects to the key's comet, sends sub and the arguments behind it,
// and wants to be accepted.
func (c *cluster) subscribe(key string, args ...string) *tcpClient {
	c.t.Helper()
	cl := dialTCP(c.t, c.owner(key).tcp)
	cl.send(command(append([]string{"sub", key, "30"}, args...)...))
	cl.want("+h\r\n")
	return cl
}

// knock sends a sub for key and returns the first line of the answer.
func knock(addr, key string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command("sub", key, "30")); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// send writes s in one piece.
func (c *tcpClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// want wants exactly these bytes to come next.
func (c *tcpClient) want(s string) {
	c.t.Helper()
	c.deadline(patience)
	got := make([]byte, len(s))
	n, err := io.ReadFull(c.in, got)
	if string(got[:n]) != s {
		c.t.Fatalf("read %q, %v, want %q", got[:n], err, s)
	}
}

// wantClosed wants the server to close the connection within d and to send
// nothing before it does.
func (c *tcpClient) wantClosed(d time.Duration) {
	c.t.Helper()
	c.deadline(d)
	rest, err := io.ReadAll(c.in)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("read %q, %v, want the end", rest, err)
	}
	if len(rest) > 0 {
		c.t.Fatalf("read %q before the end, want nothing", rest)
	}
}

// wantSilence wants nothing to come for d, and the connection to stay open.
func (c *tcpClient) wantSilence(d time.Duration) {
	c.t.Helper()
	c.deadline(d)
	if b, err := c.in.Peek(1); !os.IsTimeout(err) {
		rest, _ := c.in.Peek(c.in.Buffered())
		c.t.Fatalf("read %q%q, %v, want silence", b, rest, err)
	}
}

// beat sends a heartbeat and wants its answer.
func (c *tcpClient) beat() {
	c.t.Helper()
	c.send("h")
	c.want("+h\r\n")
}

// body reads one message and returns its body.
func (c *tcpClient) body() string {
	c.t.Helper()
	body, err := c.read(patience)
	if err != nil {
		c.t.Fatal(err)
	}
	return body
}

// message reads one message.
func (c *tcpClient) message() message {
	c.t.Helper()
	m, err := parseMessage(c.body())
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// read reads one message within d and returns its body. Any goroutine.
func (c *tcpClient) read(d time.Duration) (string, error) {
	c.deadline(d)
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("a message was expected after %q: %w", line, err)
	}
	var n int
	if _, err := fmt.Sscanf(line, "$%d\r\n", &n); err != nil || line != fmt.Sprintf("$%d\r\n", n) {
		return "", fmt.Errorf("read %q, want $<length>", line)
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return "", err
	}
	if string(body[n:]) != "\r\n" || strings.ContainsAny(string(body[:n]), "\r\n") {
		return "", fmt.Errorf("body %q is not %d bytes on one line and CRLF", body, n)
	}
	return string(body[:n]), nil
}

func (c *tcpClient) close() { c.conn.Close() }

func (c *tcpClient) deadline(d time.Duration) {
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Errorf("deadline: %v", err)
	}
}
