package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// response is an HTTP answer as it came.
type response struct {
	status  int
	header  http.Header
	length  int64 // Content-Length; -1 if there was none
	chunked bool
	body    string
}

// exchange sends request, raw, over a new connection and reads the answer. The
// request should ask for the connection to be closed.
func exchange(addr, request string) (response, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return response{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return response{}, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return response{}, err
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{
		status: res.StatusCode, header: res.Header, length: res.ContentLength,
		chunked: len(res.TransferEncoding) > 0, body: string(body),
	}, err
}

// get sends a GET as curl does.
func get(t testing.TB, addr, target string) response {
	t.Helper()
	return send(t, addr, "GET", target, "")
}

// send sends a request as curl does.
func send(t testing.TB, addr, method, target, body string, headers ...string) response {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: close\r\n", method, target, addr)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	r, err := exchange(addr, b.String())
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

// The protocols that web is asked for.
const (
	byWebSocket = 1
	byTCP       = 2
)

// serverOf returns the TCP address that web names for key.
func serverOf(web *daemon, key string) (string, error) { return serverFor(web, key, byTCP) }

// serverFor returns the address that web names for key and a protocol.
func serverFor(web *daemon, key string, proto int) (string, error) {
	r, err := exchange(web.web, fmt.Sprintf("GET /1/server/get?k=%s&p=%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", url.QueryEscape(key), proto, web.web))
	if err != nil {
		return "", err
	}
	var a struct {
		Data struct{ Server string }
		Ret  int
	}
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		return "", fmt.Errorf("%s: %w", r.body, err)
	}
	if a.Ret != 0 {
		return "", fmt.Errorf("server/get for %s: ret %d", key, a.Ret)
	}
	return a.Data.Server, nil
}

// push pushes body to key through web and returns the answer's ret. It may be
// called from any goroutine.
func (c *cluster) push(web *daemon, key string, expire int, body string) (int, error) {
	ret, _, err := c.post(web, fmt.Sprintf("/1/admin/push/private?key=%s&expire=%d", url.QueryEscape(key), expire), body)
	return ret, err
}

// pushMany pushes body to keys and returns the failed ones. Any goroutine.
func (c *cluster) pushMany(web *daemon, keys []string, expire int, body string) (ret int, failed []string, err error) {
	req, err := json.Marshal(struct {
		M string `json:"m"`
		K string `json:"k"`
	}{body, strings.Join(keys, ",")})
	if err != nil {
		return 0, nil, err
	}
	return c.post(web, fmt.Sprintf("/1/admin/push/mprivate?expire=%d", expire), string(req))
}

func (c *cluster) post(web *daemon, target, body string) (ret int, failed []string, err error) {
	res, err := c.http.Post("http://"+web.admin+target, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	var a struct {
		Data struct{ FK []string }
		Ret  *int
	}
	if err := json.Unmarshal(raw, &a); err != nil || a.Ret == nil {
		return 0, nil, fmt.Errorf("answer %d %q: %v", res.StatusCode, raw, err)
	}
	return *a.Ret, a.Data.FK, nil
}

// mustPush pushes body to key, stored for ten minutes, and wants ret 0.
func (c *cluster) mustPush(key, body string) {
	c.t.Helper()
	if ret, err := c.push(c.webs[0], key, 600, body); err != nil || ret != 0 {
		c.t.Fatalf("push to %s: ret %d, %v", key, ret, err)
	}
}

// fetch returns what is kept for key above mid, in the order of the answer. Any
// goroutine.
func (c *cluster) fetch(web *daemon, key string, mid int64) ([]message, error) {
	res, err := c.http.Get(fmt.Sprintf("http://%s/1/msg/get?k=%s&m=%d", web.web, url.QueryEscape(key), mid))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var a struct {
		Data *struct{ Msgs []json.RawMessage }
		Ret  *int
	}
	if err := json.Unmarshal(raw, &a); err != nil || a.Ret == nil || *a.Ret != 0 {
		return nil, fmt.Errorf("msg/get for %s: %q: %v", key, raw, err)
	}
	if a.Data == nil {
		return nil, nil
	}
	var out []message
	for _, m := range a.Data.Msgs {
		parsed, err := parseMessage(string(m))
		if err != nil {
			return nil, err
		}
		out = append(out, parsed)
	}
	return out, nil
}

// mustFetch is fetch on the goroutine of the test.
func (c *cluster) mustFetch(key string, mid int64) []message {
	c.t.Helper()
	msgs, err := c.fetch(c.webs[0], key, mid)
	if err != nil {
		c.t.Fatal(err)
	}
	return msgs
}

// message is one message as a client sees it, live or fetched.
type message struct {
	msg string // as it stands in the body: the JSON, or for an old client a string that holds it
	mid int64
}

// parseMessage parses a body of docs/protocol.md, "Message body", and is strict
// about fields and their order.
func parseMessage(body string) (message, error) {
	var m struct {
		Msg json.RawMessage
		Mid *int64
		Gid *int
	}
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil || m.Mid == nil || m.Gid == nil {
		return message{}, fmt.Errorf("body %q: %v", body, err)
	}
	if want := fmt.Sprintf(`{"msg":%s,"mid":%d,"gid":%d}`, m.Msg, *m.Mid, *m.Gid); body != want {
		return message{}, fmt.Errorf("body %q, want fields in the order of %q", body, want)
	}
	return message{msg: string(m.Msg), mid: *m.Mid}, nil
}
