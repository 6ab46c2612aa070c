package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// testNginxAnswers proves that what comes through Nginx is what web said, byte
// for byte, whatever the client would accept, and as long as it says.
func testNginxAnswers(t *testing.T, b *behind) {
	const key = "answers"
	for range 5 {
		b.mustPush(key, `"`+strings.Repeat("compress me ", 2000)+`"`)
	}
	now := regexp.MustCompile(`"timeid":\d+`)
	same := func(t *testing.T, method, target string, headers ...string) {
		t.Helper()
		direct, through := send(t, b.direct[0], method, target, "", headers...), send(t, b.webs[0].web, method, target, "", headers...)
		for _, r := range []*response{&direct, &through} {
			r.body = now.ReplaceAllString(r.body, `"timeid":0`)
			for _, name := range []string{"Date", "Server", "Connection"} {
				r.header.Del(name)
			}
		}
		if through.chunked || method != "HEAD" && through.length != int64(len(through.body)) && !strings.Contains(target, "time/get") {
			t.Errorf("%s %s %q: Content-Length %d, chunked %v, %d bytes", method, target, headers, through.length, through.chunked, len(through.body))
		}
		if !reflect.DeepEqual(through, direct) {
			t.Errorf("%s %s %q:\n%.300v, want\n%.300v", method, target, headers, through, direct)
		}
	}
	for _, target := range []string{
		"/1/server/get?k=answers&p=2", "/1/server/get?k=answers&p=1&cb=f", "/2/server/get?k=answers&p=1", "/1/server/get",
		"/1/msg/get?k=answers&m=0", "/1/msg/get?k=answers&m=0&cb=GoPushCli.callback_x", "/1/msg/get?k=nobody&m=0", "/1/time/get",
		"/1/msg/get?k=%61nswers&m=0&x=%2F..%2f+;&;", "/1/msg/get?k=" + strings.Repeat("%6b", 255) + "&m=0",
		"/server/get?key=answers&proto=2", "/msg/get?key=answers&mid=0&pmid=0", "/time/get?callback=f",
		"/1/msg/get?k=answers&m=0&t=" + strings.Repeat("%20", 2048), "/1/msg/get?k=answers&m=0&x=" + strings.Repeat("x", 15000),
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "PUT", "DELETE"} {
			same(t, method, target)
			same(t, method, target, "Accept-Encoding: gzip")
			same(t, method, target, "Accept-Encoding: gzip, deflate, br, *;q=0.1", "Range: bytes=0-9", "If-None-Match: *", "TE: trailers")
		}
	}
	if _, err := exchange(b.webs[0].web, "GET /1/msg/get?k=answers&m=0 HTTP/1.0\r\n\r\n"); err != nil {
		t.Errorf("HTTP/1.0 without a Host: %v", err)
	}
	for _, target := range []string{"/", "/1/admin/push/private?key=a&expire=0", "/stat", "/1/server/get/", "/sub?key=a&heartbeat=30", "/1"} {
		for _, method := range []string{"GET", "POST"} {
			if r := send(t, b.webs[0].web, method, target, ""); r.status != http.StatusNotFound {
				t.Errorf("%s %s: status %d, want 404", method, target, r.status)
			}
		}
	}
}

// tokenAnswers returns what the webs did with /1/token/add on http.bind: how
// often they answered, and how often they refused anything.
func (b *behind) tokenAnswers(t *testing.T) (answered, refused int64) {
	t.Helper()
	for _, d := range b.webs {
		var stat struct {
			Requests map[string]map[string]int64
			Refused  struct{ Access int64 }
		}
		if err := json.Unmarshal([]byte(get(t, d.stat, "/stat").body), &stat); err != nil {
			t.Fatal(err)
		}
		if len(stat.Requests) == 0 {
			t.Fatalf("/stat of web has no requests")
		}
		for n := range maps.Values(stat.Requests["/1/token/add"]) {
			answered += n
		}
		refused += stat.Refused.Access
	}
	return answered, refused
}

// testNginxTokens proves that nobody outside gets /1/token/add through to a web,
// whatever he calls it.
func testNginxTokens(t *testing.T, b *behind) {
	addr := b.webs[0].web
	_, port, _ := strings.Cut(addr, ":")
	const query = "?k=Terry-Mao&t=" + tokenMark
	const target = "/1/token/add" + query
	request := func(method, target, host, version string, headers ...string) string {
		return method + " " + target + " HTTP/" + version + "\r\nHost: " + host + "\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	}
	plain := func(target string) string { return request("GET", target, addr, "1.1") }
	rows := []struct {
		name, request string
		status        int
	}{
		{"as it is", plain(target), 403},
		{"no query", plain("/1/token/add"), 403},
		{"other query", plain("/1/token/add?cb=f&e=1&" + query[1:]), 403},
		{"signed", plain(target + "&ts=1&sig=00"), 403},
		{"double slash in front", plain("/" + target), 403},
		{"double slashes", plain("/1//token///add" + query), 403},
		{"slash behind", plain("/1/token/add/" + query), 403},
		{"dot", plain("/1/./token/add" + query), 403},
		{"dot dot", plain("/1/x/../token/add" + query), 403},
		{"dot dot out of an open path", plain("/1/time/get/../../token/add" + query), 403},
		{"dot dot encoded", plain("/1/time/%2e%2e/token/add" + query), 403},
		{"dot dot slash encoded", plain("/1/time/..%2ftoken/add" + query), 403},
		{"question mark encoded", plain("/1/time/get%3f/../../token/add" + query), 403},
		{"digit encoded", plain("/%31/token/add" + query), 403},
		{"letter encoded", plain("/1/%74oken/add" + query), 403},
		{"letters encoded in capitals", plain("/1/%74%6F%6b%65%6E/%61%64%64" + query), 403},
		{"slash encoded", plain("/1/token%2fadd" + query), 403},
		{"all slashes encoded", plain("/1%2Ftoken%2Fadd" + query), 403},
		{"encoded twice", plain("/1/%2574oken/add" + query), 404},
		{"UTF-8 too long", plain("/1/%c1%b4oken/add" + query), 404},
		{"backslashes", plain(`/1\token\add` + query), 403},
		{"capitals", plain("/1/TOKEN/ADD" + query), 403},
		{"one capital", plain("/1/Token/add" + query), 403},
		{"path parameter", plain("/1/token/add;x=1" + query), 403},
		{"path parameter before", plain("/1;x/token/add" + query), 403},
		{"space behind", plain("/1/token/add%20" + query), 403},
		{"tab behind", plain("/1/token/add%09" + query), 403},
		{"zero behind", plain("/1/token/add%00" + query), 400},
		{"out of the root", plain("/../1/token/add" + query), 400},
		{"fragment behind", plain("/1/token/add#" + query), 403},
		{"fragment of an open path", plain("/1/time/get#/../../token/add" + query), 404},
		{"query of an open path", plain("/1/time/get?/../../token/add" + query), 200},
		{"whole URL", plain("http://" + addr + target), 403},
		{"whole URL of localhost", plain("http://localhost" + target), 403},
		{"whole URL without a path", plain("http://localhost?" + target), 404},
		{"localhost", request("GET", target, "localhost", "1.1"), 403},
		{"localhost and port", request("GET", target, "localhost:"+port, "1.1"), 403},
		{"IPv6 loopback", request("GET", target, "[::1]", "1.1"), 403},
		{"a site", request("GET", target, "push.example.com", "1.1"), 403},
		{"an empty name", request("GET", target, "", "1.1"), 400},
		{"two hosts", request("GET", target, "a", "1.1", "Host: localhost"), 400},
		{"HTTP/1.0", request("GET", target, addr, "1.0"), 403},
		{"HTTP/1.0 without a host", "GET " + target + " HTTP/1.0\r\n\r\n", 403},
		{"forwarded for", request("GET", target, addr, "1.1", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"), 403},
		{"other headers' paths", request("GET", "/1/time/get", addr, "1.1", "X-Original-URL: "+target, "X-Rewrite-URL: "+target, "X-Accel-Redirect: "+target), 200},
		{"upgrade", request("GET", target, addr, "1.1", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="), 403},
		{"upgrade to HTTP/2", request("GET", "/1/time/get", addr, "1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200},
		{"POST", request("POST", target, addr, "1.1"), 403},
		{"HEAD", request("HEAD", target, addr, "1.1"), 403},
		{"PUT", request("PUT", target, addr, "1.1"), 403},
		{"OPTIONS", request("OPTIONS", target, addr, "1.1"), 403},
		{"small letters", request("get", target, addr, "1.1"), 400},
		{"inside a body", request("GET", "/1/time/get", addr, "1.1", fmt.Sprintf("Content-Length: %d", len(plain(target)))) + plain(target), 200},
		{"behind a body of two lengths", request("GET", "/1/time/get", addr, "1.1", "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + plain(target), 400},
		{"behind a length with a space", request("GET", "/1/time/get", addr, "1.1", "Content-Length : 4") + plain(target), 400},
		{"of the admin's port", plain("/1/token/del" + query), 403},
	}
	answered, refused := b.tokenAnswers(t)
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			r, err := exchange(addr, tt.request)
			if err != nil || r.status != tt.status {
				t.Errorf("status %d, %v, want %d", r.status, err, tt.status)
			}
			if tt.status == 200 && !strings.HasPrefix(r.body, `{"data":{"timeid":`) {
				t.Errorf("body %q, want the time", r.body)
			}
		})
	}
	t.Run("behind another request", func(t *testing.T) {
		conn := dialTCP(t, addr)
		conn.send(request("GET", "/1/time/get", addr, "1.1")[:len("GET /1/time/get HTTP/1.1\r\n")] + "Host: x\r\n\r\n" + plain(target))
		all, err := io.ReadAll(conn.in)
		if err != nil || strings.Count(string(all), "HTTP/1.1 200 ") != 1 || strings.Count(string(all), "HTTP/1.1 403 ") != 1 {
			t.Errorf("%q, %v, want one 200 and one 403", all, err)
		}
	})
	t.Run("HTTP/0.9", func(t *testing.T) {
		conn := dialTCP(t, addr)
		conn.send("GET " + target + "\r\n")
		if all, err := io.ReadAll(conn.in); err != nil || !strings.Contains(string(all), "not added from here") {
			t.Errorf("%q, %v, want to be refused", all, err)
		}
	})
	t.Run("none reached web", func(t *testing.T) {
		if a, r := b.tokenAnswers(t); a != answered || r != refused {
			t.Errorf("the webs answered %d and refused %d, before %d and %d", a, r, answered, refused)
		}
	})
}

// testNginxForwardedTokens opens Nginx's door and proves that web's is shut: the
// request says that it was forwarded, whatever the client says about it. Web
// takes Nginx, which is on its own machine, for nothing better.
func testNginxForwardedTokens(t *testing.T, b *behind) {
	open := b.another(t, `return 403 "tokens are not added from here\n";`, "proxy_pass http://gopush_web;")
	const target = "/1/token/add?k=Terry-Mao&t=" + tokenMark
	answered, refused := b.tokenAnswers(t)
	requests := []string{
		"GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Forwarded-For, X-Real-IP\r\n\r\n",
		"GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For:\r\nX-Real-IP:\r\nForwarded:\r\n\r\n",
		"GET " + target + " HTTP/1.0\r\n\r\n",
	}
	for _, request := range requests {
		r, err := exchange(open, request)
		if err != nil || r.status != http.StatusForbidden || !strings.Contains(r.body, "forwarded") {
			t.Errorf("%q: status %d %q, %v, want 403 of web", request, r.status, r.body, err)
		}
	}
	if a, r := b.tokenAnswers(t); a != answered || r != refused+int64(len(requests)) {
		t.Errorf("the webs answered %d and refused %d, before %d and %d", a, r, answered, refused)
	}
}

// testNginxSlowReader proves that a client which takes its time for a large
// answer keeps no web: both can end while it reads.
func testNginxSlowReader(t *testing.T, b *behind) {
	const key = "slow reader"
	for i := range 20 {
		b.mustPush(key, fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 500<<10)))
	}
	const target = "/1/msg/get?k=slow+reader&m=0"
	want := get(t, b.direct[0], target).body

	conn, err := net.Dial("tcp", b.webs[0].web)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	cl := &tcpClient{t: t, conn: conn}
	cl.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	cl.deadline(patience)
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatal(err)
	}
	for _, d := range b.webs {
		if code := d.Stop(); code != 0 {
			t.Errorf("%s: exit code %d", d.kind, code)
		}
	}
	cl.deadline(3 * patience)
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	head, body, _ := strings.Cut(string(first)+string(rest), "\r\n\r\n")
	if !strings.Contains(head, fmt.Sprintf("\r\nContent-Length: %d\r\n", len(want))) || body != want {
		t.Errorf("%q and %d bytes, want %d", head, len(body), len(want))
	}
	for _, d := range b.webs {
		d.Start()
	}
	b.again()
}

// again waits until Nginx has found out that the webs are back.
func (b *behind) again() {
	b.t.Helper()
	testenv.Eventually(b.t, 15*time.Second, func() error {
		for range 8 {
			r, err := exchange(b.webs[0].web, "GET /1/server/get?k=a&p=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if err != nil || r.status != http.StatusOK || !strings.HasSuffix(r.body, `"ret":0}`) {
				return fmt.Errorf("%d %q: %v", r.status, r.body, err)
			}
		}
		return nil
	})
}

// testNginxSlowAsker proves that half a request is not waited for longer than
// client_header_timeout, and that others are served meanwhile.
func testNginxSlowAsker(t *testing.T, b *behind) {
	var slow []*tcpClient
	for _, addr := range []string{b.webs[0].web, b.comets[0].ws} {
		for range 50 {
			cl := dialTCP(t, addr)
			cl.send("GET /1/time/get HTTP/1.1\r\nHost: x\r\n")
			slow = append(slow, cl)
		}
	}
	b.again()
	for _, cl := range slow {
		cl.deadline(2 * patience)
		if all, err := io.ReadAll(cl.in); err != nil || len(all) > 0 {
			t.Errorf("%q, %v, want the end", all, err)
		}
	}
}
