package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
)

// nonce is what the fixture's random source makes of the first push.
var nonce = strings.Repeat("ab", 16)

// TestPushSent is what a comet is sent for a push.
func TestPushSent(t *testing.T) {
	const order7 = "i0fc89f8ae19394b48debd6353bb9ad33" // printf 'order 7' | sha256sum | cut -c 1-32
	second := at.Unix() + 1                            // at is in the middle of a second
	for _, tt := range []struct {
		name, request string
		want          peer.Push
	}{
		{"kept", post("/1/admin/push/private?key=a%20b&expire=600", "{ \"a\" : \"<é>\" }\n"),
			peer.Push{Keys: []string{"a b"}, Msg: json.RawMessage(`{"a":"\u003cé\u003e"}`), ExpireAt: second + 600, Nonce: nonce}},
		{"live only", post("/admin/push?key=a&expire=0", "1"),
			peer.Push{Keys: []string{"a"}, Msg: json.RawMessage(`1`), Nonce: nonce}},
		{"named by header", post("/1/admin/push/private?key=a&expire=600", "1", "Idempotency-Key: order 7"),
			peer.Push{Keys: []string{"a"}, Msg: json.RawMessage(`1`), ExpireAt: second + 600, Nonce: order7, Named: true}},
		{"named by query", post("/1/admin/push/private?key=a&expire=600&id=order+7", "1"),
			peer.Push{Keys: []string{"a"}, Msg: json.RawMessage(`1`), ExpireAt: second + 600, Nonce: order7, Named: true}},
		{"named by both, the same", post("/1/admin/push/private?key=a&expire=600&id=order+7", "1", "Idempotency-Key: order 7"),
			peer.Push{Keys: []string{"a"}, Msg: json.RawMessage(`1`), ExpireAt: second + 600, Nonce: order7, Named: true}},
		{"many, named", post("/1/admin/push/mprivate?expire=600&id=order+7", `{"m":"[1, 2]","k":"b, a ,b,,a"}`),
			peer.Push{Keys: []string{"b", "a"}, Msg: json.RawMessage(`[1,2]`), ExpireAt: second + 600, Nonce: order7, Named: true}},
		{"many, escapes in m", post("/1/admin/push/mprivate?expire=0", `{"k":"a","m":"{\"x\":\"\\u00e9\\ud83d\\ude00\"}","other":1}`),
			peer.Push{Keys: []string{"a"}, Msg: json.RawMessage(`{"x":"\u00e9\ud83d\ude00"}`), Nonce: nonce}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig()).run(t)
			if _, body := exchange(t, f.AdminAddrs()[0], tt.request); body != `{"ret":0}` {
				t.Fatalf("answer = %s", body)
			}
			if diff := cmp.Diff([]peer.Push{tt.want}, f.comet().pushes); diff != "" {
				t.Errorf("pushes (-want +got):\n%s", diff)
			}
			if !msg.ValidNonce(tt.want.Nonce) {
				t.Errorf("nonce %q is not valid", tt.want.Nonce)
			}
		})
	}
}

// TestPushID: an id that is too long is refused, two ids differ, and of one push
// they must not.
func TestPushID(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	for _, tt := range []struct{ id, want string }{
		{strings.Repeat("i", 255), `{"ret":0}`},
		{strings.Repeat("i", 254), `{"ret":0}`},
		{strings.Repeat("i", 256), `{"ret":65534}`},
	} {
		if _, body := exchange(t, f.AdminAddrs()[0], post("/1/admin/push/private?key=a&expire=1&id="+tt.id, "1")); body != tt.want {
			t.Errorf("id of %d bytes: %s, want %s", len(tt.id), body, tt.want)
		}
	}
	if p := f.comet().pushes; len(p) != 2 || p[0].Nonce == p[1].Nonce {
		t.Errorf("pushes = %+v, want two with different nonces", p)
	}
	for _, tt := range []struct {
		name, query, headers string
		says                 string // in X-Gopush-Error
	}{
		{"header and query", "&id=a", "Idempotency-Key: b", "Idempotency-Key and id differ"},
		{"two headers", "", "Idempotency-Key: a\r\nIdempotency-Key: b", "Idempotency-Key and Idempotency-Key differ"},
		{"two in the query", "&id=a&id=b", "", "id and id differ"},
		{"a long header", "", "Idempotency-Key: " + strings.Repeat("i", 256), "Idempotency-Key: want 1 to 255 bytes, got 256"},
	} {
		var headers []string
		if tt.headers != "" {
			headers = append(headers, tt.headers)
		}
		head, body := exchange(t, f.AdminAddrs()[0], post("/1/admin/push/private?key=a&expire=1"+tt.query, "1", headers...))
		if body != `{"ret":65534}` || !strings.HasPrefix(head.Header.Get("X-Gopush-Error"), tt.says) {
			t.Errorf("%s: %v %s", tt.name, head.Header, body)
		}
	}
	if n := f.comet().pushed(); n != 2 {
		t.Errorf("%d pushes: a refused one was sent", n)
	}
}

// TestPushConflict: an id that was another message's is the caller's mistake, and
// the answer says so. Among many keys it is one of those that failed.
func TestPushConflict(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	f.comet().push = func(_ context.Context, _ string, p peer.Push) ([]peer.PushResult, error) {
		results := make([]peer.PushResult, len(p.Keys))
		results[0].Code = peer.Conflict
		return results, nil
	}
	head, body := exchange(t, f.AdminAddrs()[0], post("/1/admin/push/private?key=a&expire=1&id=x", "1"))
	if body != `{"ret":65534}` || !strings.Contains(head.Header.Get("X-Gopush-Error"), "this id was given to another message") {
		t.Errorf("one key: %v %s", head.Header, body)
	}
	_, body = exchange(t, f.AdminAddrs()[0], post("/1/admin/push/mprivate?expire=1&id=x", `{"m":"1","k":"a,b"}`))
	if body != `{"data":{"fk":["a"]},"ret":0}` {
		t.Errorf("two keys: %s", body)
	}
}

// TestNoRandom: without chance there is no nonce, and without a nonce no push.
func TestNoRandom(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	f.random = strings.NewReader("short")
	if _, body := exchange(t, f.AdminAddrs()[0], post("/1/admin/push/private?key=a&expire=1", "1")); body != `{"ret":65535}` {
		t.Errorf("answer = %s", body)
	}
	if n := f.comet().pushed(); n != 0 {
		t.Errorf("%d pushes", n)
	}
}

// TestBodyLimits: what is over the limit is refused without being read to its
// end, and the connection ends; what is just within it is taken.
func TestBodyLimits(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	addr := f.AdminAddrs()[0]
	text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	keys := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprint("k", i)
		}
		return strings.Join(list, ",")
	}
	many := func(m, k string) string {
		b, err := json.Marshal(map[string]string{"m": m, "k": k})
		if err != nil {
			t.Fatal(err)
		}
		return post("/1/admin/push/mprivate?expire=1", string(b))
	}
	const private = "/1/admin/push/private?key=a&expire=1"
	chunked := "POST " + private + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name, request string
		want          string
		closed        bool
		tooLarge      int64
	}{
		{"largest message", post(private, text(msg.MaxBody)), `{"ret":0}`, false, 0},
		{"one byte more", post(private, text(msg.MaxBody+1)), `{"ret":65534}`, true, 1},
		{"a GiB announced", "POST " + private + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n", `{"ret":65534}`, true, 1},
		{"a GiB announced, asked for first", "POST " + private + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n", `{"ret":65534}`, true, 1},
		{"too much in chunks", chunked + "100001\r\n" + text(msg.MaxBody+1) + "\r\n0\r\n\r\n", `{"ret":65534}`, true, 1},
		{"largest message for many", many(text(msg.MaxBody), "a"), `{"ret":0}`, false, 0},
		{"one byte more for many", many(text(msg.MaxBody+1), "a"), `{"ret":65534}`, false, 1},
		{"most keys", many("1", keys(maxKeys)), `{"ret":0}`, false, 0},
		{"one key more", many("1", keys(maxKeys+1)), `{"ret":65534}`, false, 0},
		{"a GiB for many", "POST /1/admin/push/mprivate?expire=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n", `{"ret":65534}`, true, 1},
		{"a form too large", post("/1/admin/msg/del", "key=a&x="+strings.Repeat("x", maxForm)), `{"ret":65534}`, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := f.count.tooBig.Load()
			res, body := exchange(t, addr, tt.request)
			if res.StatusCode != http.StatusOK || body != tt.want {
				t.Errorf("got %d %s, want %s", res.StatusCode, body, tt.want)
			}
			if res.Close != tt.closed {
				t.Errorf("closed = %t, want %t", res.Close, tt.closed)
			}
			if n := f.count.tooBig.Load() - before; n != tt.tooLarge {
				t.Errorf("counted %d bodies too large, want %d", n, tt.tooLarge)
			}
		})
	}
}

// TestHeaderLimit: net/http answers 431 and ends the connection.
func TestHeaderLimit(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	res, _ := exchange(t, f.HTTPAddrs()[0], "GET /1/time/get HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || !res.Close {
		t.Errorf("got %s, closed %t", res.Status, res.Close)
	}
}

// TestBodyBreaksOff: half a body is no message.
func TestBodyBreaksOff(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	c, err := net.Dial("tcp", f.AdminAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /1/admin/push/private?key=a&expire=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123")
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(answer), `{"ret":65534}`) || f.comet().pushed() != 0 {
		t.Errorf("answer %q after %d pushes, want 65534 and none", answer, f.comet().pushed())
	}
}

// TestPushesAtOnce: 64 callers at a time get each their own answer.
func TestPushesAtOnce(t *testing.T) {
	cfg := testConfig()
	f := newFixture(t, cfg).run(t)
	f.random = syncReader{new(sync.Mutex), f.random}
	f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		if strings.HasPrefix(p.Keys[0], "bad") {
			return answers(peer.Failed)(ctx, node, p)
		}
		return answers(peer.OK)(ctx, node, p)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key, want := fmt.Sprint("ok", i), `{"ret":0}`
			if i%4 == 0 {
				key, want = fmt.Sprint("bad", i), `{"ret":65535}`
			}
			for range 10 {
				res, err := client.Post("http://"+f.AdminAddrs()[0]+"/1/admin/push/private?expire=60&key="+key, "", strings.NewReader("1"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(body) != want {
					t.Errorf("%s: %s, %v; want %s", key, body, err, want)
				}
			}
		})
	}
	wg.Wait()
	if n := f.comet().pushed(); n != 640 {
		t.Errorf("%d pushes, want 640", n)
	}
}

// syncReader lets several requests share the fixture's random bytes.
type syncReader struct {
	mu *sync.Mutex
	r  io.Reader
}

func (s syncReader) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

// TestCallerHangsUp: a push that was begun is finished.
func TestCallerHangsUp(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	begun, end := make(chan struct{}), make(chan error, 1)
	f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		close(begun)
		select {
		case <-ctx.Done():
			end <- ctx.Err()
		case <-time.After(200 * time.Millisecond): // time for net/http to see the caller go
			end <- nil
		}
		return answers(peer.OK)(ctx, node, p)
	}
	c, err := net.Dial("tcp", f.AdminAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, post("/1/admin/push/private?key=a&expire=1", "1"))
	<-begun
	c.Close()
	if err := <-end; err != nil {
		t.Errorf("the push was broken off: %v", err)
	}
}

func TestSplitKeys(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []string
	}{
		{"a", []string{"a"}},
		{"a,b", []string{"a", "b"}},
		{" a ,\tb\n,", []string{"a", "b"}},
		{"b,a,b,a", []string{"b", "a"}},
		{"a b", []string{"a b"}},
		{",,a", []string{"a"}},
		{"", nil},
		{" , ", nil},
	} {
		got, err := splitKeys(tt.list)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("splitKeys(%q) = %q, %v; want %q", tt.list, got, err, tt.want)
		}
	}
}

// FuzzParseMany: whatever comes is refused, or gives keys that are not empty,
// differ, and were in the body.
func FuzzParseMany(f *testing.F) {
	f.Add([]byte(`{"m":"{\"test\":1}","k":"k1,k2,k3"}`))
	f.Add([]byte(`{"m":"1","k":" a ,,a"}`))
	f.Add([]byte(`{"M":"1","K":"a","k":null}`))
	f.Add([]byte(`{"m":"\ud800","k":"\u0000"}`))
	f.Add([]byte("{\"m\":\"1\",\"k\":\"\xff\"}"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, keys, err := parseMany(body)
		if err != nil {
			if ret(err) != retParam {
				t.Fatalf("%q: %v is no parameter's fault", body, err)
			}
			return
		}
		seen := make(map[string]bool)
		for _, k := range keys {
			if k == "" || strings.Contains(k, ",") || strings.TrimSpace(k) != k || seen[k] {
				t.Fatalf("%q: key %q", body, k)
			}
			seen[k] = true
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("%q: %d keys", body, len(keys))
		}
	})
}

// FuzzCallback: what may wrap an answer holds nothing that a browser could
// take for markup or code, and plain answers are JSON.
func FuzzCallback(f *testing.F) {
	for _, name := range []string{"", "f", "GoPushCli.callback_x", "$1", "a()", "<script>", "f\r\n", "é", strings.Repeat("f", 65)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !validCallback(name) {
			return
		}
		body := string(answer{data: []byte(`{"a":1}`), callback: name}.append(nil))
		if name == "" {
			if !json.Valid([]byte(body)) {
				t.Fatalf("%q is no JSON", body)
			}
			return
		}
		if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.") != "" {
			t.Fatalf("%q is valid", name)
		}
		if want := name + `({"data":{"a":1},"ret":0})`; body != want {
			t.Fatalf("got %q, want %q", body, want)
		}
	})
}
