package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// resident returns the resident memory of a process in bytes.
func resident(t *testing.T, p *testenv.Process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestFloods sends what never ends to every port. The daemon closes the socket
// long before the end, its memory stays where it was, and others notice nothing.
func TestFloods(t *testing.T) {
	t.Parallel()
	c := start(t, options{})
	const (
		flood   = 64 << 20 // bytes
		growth  = 24 << 20 // of the daemon, allowed over all floods; -race costs its share
		passing = 16 << 20 // bytes that buffers of the kernel may swallow
	)
	comet, web, message := c.comets[0], c.webs[0], c.messages[0]
	cl := c.subscribe("dry", "", "1.0")
	upgrade := "GET /sub?key=flood&heartbeat=30 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
	push := "POST /1/admin/push/private?key=flood&expire=600 HTTP/1.1\r\nHost: localhost\r\n"
	tests := []struct {
		name   string
		d      *daemon
		addr   string
		head   string // sent once
		filler byte   // and then this, without end
	}{
		{"tcp line", comet, comet.tcp, "*", '1'},
		{"tcp length", comet, comet.tcp, "*3\r\n$", '9'},
		{"tcp argument", comet, comet.tcp, "*3\r\n$3\r\nsub\r\n$1000000000\r\n", 'k'},
		{"websocket request line", comet, comet.ws, "GET /", 'a'},
		{"websocket header", comet, comet.ws, upgrade + "X: ", 'a'},
		{"websocket frame", comet, comet.ws, upgrade + "\r\n\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00mask", 'h'},
		{"websocket junk", comet, comet.ws, upgrade + "\r\n", 0xff},
		{"comet rpc, announced", comet, comet.rpc, "\xfc\x3f\xff\xff\xff", 'x'}, // 1 GiB in gob
		{"comet rpc, junk", comet, comet.rpc, "", 0xff},
		{"comet rpc, zeros", comet, comet.rpc, "", 0},
		{"http request line", web, web.web, "GET /", 'a'},
		{"http header", web, web.web, "GET / HTTP/1.1\r\nX: ", 'a'},
		{"http body of a GET", web, web.web, "GET /1/time/get HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", 'a'},
		{"admin body", web, web.admin, push + "Content-Length: 1073741824\r\n\r\n", '1'},
		{"admin body in chunks", web, web.admin, push + "Transfer-Encoding: chunked\r\n\r\n40000000\r\n", '1'},
		{"admin body of many", web, web.admin, "POST /1/admin/push/mprivate?expire=600 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n{\"m\":\"", '1'},
		{"admin form", web, web.admin, "POST /1/admin/msg/del HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1073741824\r\n\r\nkey=", '1'},
		{"message rpc, announced", message, message.rpc, "\xfc\x3f\xff\xff\xff", 'x'},
		{"message rpc, junk", message, message.rpc, "", 0xff},
		{"stat header", message, message.stat, "GET /stat HTTP/1.1\r\nX: ", 'a'},
	}
	before := make(map[*daemon]int)
	for _, d := range c.daemons() {
		before[d] = resident(t, d.Process)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			piece := bytes.Repeat([]byte{tt.filler}, 64<<10)
			sent, err := conn.Write([]byte(tt.head))
			for err == nil && sent < flood {
				var n int
				n, err = conn.Write(piece)
				sent += n
			}
			if ne, ok := err.(net.Error); err == nil || ok && ne.Timeout() || sent > passing {
				t.Errorf("%d bytes went in, then %v; want the socket to be closed before", sent, err)
			}
			if !tt.d.Running() {
				t.Fatalf("%s has ended", tt.d.kind)
			}
			cl := *cl
			cl.t = t
			cl.beat()
		})
	}
	for _, d := range c.daemons() {
		if now := resident(t, d.Process); now-before[d] > growth {
			t.Errorf("%s grew from %d MiB to %d MiB", d.kind, before[d]>>20, now>>20)
		}
	}
	c.mustPush("dry", `"still here"`)
	if m := cl.message(); m.msg != `"still here"` {
		t.Errorf("live %v", m)
	}
}
