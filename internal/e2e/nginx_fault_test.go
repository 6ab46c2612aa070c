package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// testNginxSlowSessions proves that sessions which do not read are ended by
// their comet, through Nginx, and that others of the key notice nothing.
func testNginxSlowSessions(t *testing.T, b *behind) {
	const (
		key      = "slow sessions"
		messages = 300
		size     = 100 << 10 // more in all than the buffers of the kernel and of Nginx hold
	)
	deaf := func(addr, hello, want string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		cl := &tcpClient{t: t, conn: conn}
		cl.send(hello)
		cl.deadline(patience)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
		return conn
	}
	owner := b.owner(key)
	slow := []net.Conn{
		deaf(owner.tcp, command("sub", key, "600", "", "1.0"), "+h\r\n"),
		deaf(owner.ws, "GET /sub?key=slow+sessions&heartbeat=600&ver=1.0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n", "HTTP/1.1 101 "),
	}
	tcp, ws := b.subscribe(key, "", "1.0"), b.subscribeWS(key, "&ver=1.0")
	body := `"` + strings.Repeat("x", size) + `"`
	for i := range messages {
		if ret, err := b.push(b.webs[0], key, 0, body); ret != 0 || err != nil {
			t.Fatalf("push %d: ret %d, %v", i, ret, err)
		}
		for _, cl := range []reader{tcp, ws} {
			got, err := cl.read(patience)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			if m, err := parseMessage(got); err != nil || m.msg != body {
				t.Fatalf("message %d: %.100q, %v", i, got, err)
			}
		}
	}
	for i, conn := range slow {
		if err := conn.SetReadDeadline(time.Now().Add(3 * patience)); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, conn)
		if errors.Is(err, os.ErrDeadlineExceeded) || n >= messages*size {
			t.Errorf("slow client %d read %d bytes of %d, then %v, want to be cut off", i, n, messages*size, err)
		}
	}
	tcp.beat()
	ws.beat()
}

// testNginxReload proves that a new configuration disconnects nobody.
func testNginxReload(t *testing.T, b *behind) {
	tcp, ws := b.subscribe("reload", "", "1.0"), b.subscribeWS("reload", "&ver=1.0")
	b.nginx.Reload()
	b.again()
	b.mustPush("reload", `1`)
	for _, cl := range []reader{tcp, ws} {
		if body, err := cl.read(patience); err != nil || !strings.HasPrefix(body, `{"msg":1,`) {
			t.Errorf("read %q, %v", body, err)
		}
	}
	tcp.beat()
	ws.beat()
}

// testNginxKilledWebs kills one web after the other under load. Who asks notices
// nothing; of the pushes only those fail that were under way, and none is there
// twice.
func testNginxKilledWebs(t *testing.T, b *behind) {
	book := newLedger()
	count := func() (acked, failed int) {
		book.mu.Lock()
		defer book.mu.Unlock()
		for _, bodies := range book.acked {
			acked += len(bodies)
		}
		for _, bodies := range book.failed {
			failed += len(bodies)
		}
		return acked, failed
	}
	more := func(n int) {
		t.Helper()
		least, _ := count()
		testenv.Eventually(t, 30*time.Second, func() error {
			if acked, _ := count(); acked < least+n {
				return fmt.Errorf("%d of %d pushes acknowledged", acked-least, n)
			}
			return nil
		})
	}
	var asks atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := serverOf(b.webs[0], "asks"); err != nil {
					t.Errorf("ask %d: %v", asks.Load(), err)
				}
				asks.Add(1)
			}
		})
	}
	stop := b.load(book, "kills")
	for _, d := range b.webs {
		more(100)
		d.Kill()
		more(50) // what was under way has failed by now
		_, before := count()
		more(150)
		if _, after := count(); after != before {
			t.Errorf("%d pushes failed that were begun when a web was gone", after-before)
		}
		d.Start()
	}
	stop()
	close(done)
	wg.Wait()
	acked, failed := count()
	t.Logf("%d pushes acknowledged, %d failed, %d asks", acked, failed, asks.Load())
	book.check(b.cluster)

	for _, d := range b.webs {
		d.Kill()
	}
	for _, r := range []response{
		get(t, b.webs[0].web, "/1/server/get?k=a&p=2"),
		send(t, b.webs[0].admin, "POST", "/1/admin/push/private?key=a&expire=0", "1"),
	} {
		if r.status != http.StatusBadGateway || r.body != `{"ret":65535}` || r.length != int64(len(r.body)) {
			t.Errorf("without a web: %d %q, want 502 and ret 65535", r.status, r.body)
		}
	}
	for _, d := range b.webs {
		d.Start()
	}
	b.again()
}

// TestNginxRepeats puts webs of our own behind the file, which count, and proves
// what is asked a second time: a GET whose web says nothing, and whatever did
// not reach a web. A POST that did is never sent again.
func TestNginxRepeats(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: this test needs a real nginx")
	}
	const (
		hang = "hang" // takes the request and never answers
		drop = "drop" // takes the request and closes the connection
		gone = "gone" // does not listen
	)
	const get, post, push = "GET /1/msg/get?k=a&m=0", "GET /1/token/add?k=a&t=0", "POST /1/admin/push/private?key=a&expire=0"
	for _, tt := range []struct {
		name, first string
		admin       bool
		request     string
		status      int
		seen        int64 // requests that the webs got
	}{
		{"ask one that drops", drop, false, get, 200, 2},
		{"ask one that hangs", hang, false, get, 200, 2},
		{"ask one that is gone", gone, false, get, 200, 1},
		{"add a token at one that drops", drop, true, post, 200, 2},
		{"push to one that drops", drop, true, push, 502, 1},
		{"push to one that hangs", hang, true, push, 504, 1},
		{"push to one that is gone", gone, true, push, 200, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var seen atomic.Int64
			serve := func(how string) string {
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					seen.Add(1)
					if body, err := io.ReadAll(r.Body); err != nil || len(body) != int(r.ContentLength) {
						t.Errorf("body %q, %v", body, err)
					}
					switch how {
					case hang:
						<-r.Context().Done()
					case drop:
						panic(http.ErrAbortHandler)
					}
				}))
				t.Cleanup(s.Close)
				return s.Listener.Addr().String()
			}
			first, second := testenv.FreeAddr(t), serve("")
			if tt.first != gone {
				first = serve(tt.first)
			}
			moved := map[string]string{"127.0.0.1:8090": first, "127.0.0.1:8290": second, "127.0.0.1:8091": first, "127.0.0.1:8291": second}
			for _, addr := range append(listening, "127.0.0.1:6968", "127.0.0.1:7168", "127.0.0.1:6969", "127.0.0.1:7169") {
				moved[addr] = testenv.FreeAddr(t)
			}
			// One process keeps one order: the first web is asked first.
			conf := strings.Replace(nginxConf(t), "worker_processes auto;", "worker_processes 1;", 1)
			conf = strings.Replace(conf, "proxy_read_timeout      20s;", "proxy_read_timeout 2s;", 1)
			testenv.Nginx(t, conf, moved)
			to := moved[listening[0]]
			if tt.admin {
				to = moved[listening[1]]
			}
			r, err := exchange(to, tt.request+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1")
			if err != nil || r.status != tt.status || seen.Load() != tt.seen {
				t.Errorf("status %d, %v, and the webs saw %d requests; want %d and %d", r.status, err, seen.Load(), tt.status, tt.seen)
			}
		})
	}
}
