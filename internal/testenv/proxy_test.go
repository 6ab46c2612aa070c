package testenv

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// echo answers every line with itself, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// line is a client of echo.
type line struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, addr string) *line {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &line{t: t, conn: c, in: bufio.NewReader(c)}
}

func (l *line) send(s string) {
	l.t.Helper()
	if _, err := io.WriteString(l.conn, s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) want(s string) {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got, err := l.in.ReadString('\n'); got != s {
		l.t.Fatalf("read %q, %v, want %q", got, err, s)
	}
}

func (l *line) silent() {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := l.in.Peek(1); !os.IsTimeout(err) {
		l.t.Fatalf("read %q, %v, want silence", b, err)
	}
}

func (l *line) closed() {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if b, err := l.in.Peek(1); err == nil || os.IsTimeout(err) {
		l.t.Fatalf("read %q, %v, want a closed connection", b, err)
	}
}

func TestProxyHoldsEachDirection(t *testing.T) {
	for _, tt := range []struct {
		name     string
		up, down bool
	}{{"up", true, false}, {"down", false, true}, {"both", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			p := Proxy(t, echo(t))
			c := dial(t, p.Addr())
			c.send("a\n")
			c.want("a\n")
			p.Hold(tt.up, tt.down)
			c.send("b\n")
			c.silent()
			p.Hold(false, false)
			c.want("b\n")
		})
	}
}

func TestProxyCutAndRefuse(t *testing.T) {
	p := Proxy(t, echo(t))
	c := dial(t, p.Addr())
	c.send("a\n")
	c.want("a\n")
	p.Hold(true, true) // a held connection must be cut as well
	p.Cut()
	c.closed()
	p.Hold(false, false)

	c = dial(t, p.Addr())
	c.send("b\n")
	c.want("b\n")
	p.Refuse()
	c.closed()
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		conn.Close()
		t.Fatal("connected while refusing")
	}
	p.Accept()
	c = dial(t, p.Addr())
	c.send("c\n")
	c.want("c\n")
}

func TestProxyDelays(t *testing.T) {
	p := Proxy(t, echo(t))
	c := dial(t, p.Addr())
	p.Delay(100 * time.Millisecond)
	start := time.Now()
	c.send("a\n")
	c.want("a\n")
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("there and back took %v, want 2 × 100ms at least", took)
	}
}

func TestProxyPassesTheEndOn(t *testing.T) {
	p := Proxy(t, echo(t))
	c := dial(t, p.Addr())
	c.send("a\n")
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.want("a\n")
	c.closed()
}

// TestProxyBreaksForOneClient tells two clients apart by who owns their ends.
func TestProxyBreaksForOneClient(t *testing.T) {
	p := Proxy(t, echo(t))
	first := dial(t, p.Addr())
	first.send("a\n")
	first.want("a\n")
	p.Know(func(client net.Conn) string {
		if client.RemoteAddr().String() == first.conn.LocalAddr().String() {
			return SocketOwner(client, map[int]string{os.Getpid(): "another"})
		}
		return SocketOwner(client, map[int]string{os.Getpid(): "me", 1: "init"})
	})
	c := dial(t, p.Addr())
	c.send("a\n")
	c.want("a\n")
	for _, held := range []struct{ up, down bool }{{true, false}, {false, true}} {
		p.HoldFrom("me", held.up, held.down)
		first.send("b\n")
		first.want("b\n")
		c.send("b\n")
		c.silent()
		p.HoldFrom("me", false, false)
		c.want("b\n")
	}
	p.RefuseFrom("me")
	c.closed()
	dial(t, p.Addr()).closed()
	first.send("c\n")
	first.want("c\n")
	p.AcceptFrom("me")
	c = dial(t, p.Addr())
	c.send("d\n")
	c.want("d\n")
}
