package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// exchange sends raw and returns the answer, its body read.
func exchange(t testing.TB, addr, raw string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return res, string(body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

func post(path, body string, headers ...string) string {
	var h strings.Builder
	for _, line := range headers {
		h.WriteString(line + "\r\n")
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", path, &h, len(body), body)
}

// stored are two messages in the canonical form, the second with everything
// that has to be escaped.
var stored = []peer.Stored{
	{Mid: 13999084541846400, Msg: json.RawMessage(`{"test":1}`)},
	{Mid: 13999084541846480, Msg: json.RawMessage(`"\u003cb\u003e \"q\" é"`)},
}

// kept answers reads for the key "kept", and for no other.
func kept(_ context.Context, args peer.ReadArgs) (peer.ReadReply, error) {
	it := args.Items[0]
	switch {
	case len(args.Items) != 1 || it.Limit < 1000:
		return peer.ReadReply{}, fmt.Errorf("fake: a strange read: %+v", args)
	case it.Key == "down":
		return peer.ReadReply{}, fmt.Errorf("fake: %w", peer.ErrFailed)
	case it.Key == "failed":
		return peer.ReadReply{Results: []peer.ReadResult{{Code: peer.Failed}}}, nil
	case it.Key == "gopush:x":
		return peer.ReadReply{Results: []peer.ReadResult{{Code: peer.Invalid}}}, nil
	case it.Key != "kept":
		return peer.ReadReply{Results: []peer.ReadResult{{}}}, nil
	}
	r := peer.ReadResult{}
	for _, m := range stored {
		if m.Mid > it.After {
			r.Msgs = append(r.Msgs, m)
		}
	}
	return peer.ReadReply{Results: []peer.ReadResult{r}}, nil
}

// newContract is the cluster behind the tests of the contract.
func newContract(t *testing.T) *fixture {
	f := newFixture(t, testConfig())
	node := func(name string, tcp, ws []string) {
		f.cluster.nodes[name] = registry.Node{Name: name, Children: []registry.Child{{Info: registry.Info{TCP: tcp, WS: ws}}}}
	}
	node("six", []string{"[::1]:6969"}, []string{"[::1]:6968", "10.0.0.1:6968"})
	node("deaf", nil, []string{"10.0.0.2:6968"})
	f.cluster.nodes["away"] = registry.Node{Name: "away", Last: registry.Info{TCP: []string{"10.0.0.3:6969"}}}
	f.cluster.place = func(key string) string {
		switch key {
		case "six", "deaf", "away", "nobody":
			return key
		}
		return "node1"
	}
	f.cluster.comet.push = func(_ context.Context, _ string, p peer.Push) ([]peer.PushResult, error) {
		results := make([]peer.PushResult, len(p.Keys))
		for i, k := range p.Keys {
			switch {
			case strings.HasPrefix(k, "bad"):
				results[i].Code = peer.Failed
			case strings.HasPrefix(k, "gopush:"):
				results[i].Code = peer.Invalid
			}
		}
		return results, nil
	}
	f.messages.read = kept
	f.messages.del = func(key string) error {
		switch key {
		case "down":
			return peer.ErrFailed
		case "gopush:x":
			return fmt.Errorf("fake: %w", peer.ErrInvalid)
		}
		return nil
	}
	return f.run(t)
}

const (
	plainType  = "application/json;charset=utf-8"
	scriptType = "application/javascript;charset=utf-8"
)

// TestURLs is every row of docs/protocol.md, "Public URLs" and "Internal URLs".
func TestURLs(t *testing.T) {
	f := newContract(t)
	const (
		ok       = `{"ret":0}`
		noComet  = `{"ret":1001}`
		param    = `{"ret":65534}`
		internal = `{"ret":65535}`

		okOld       = `{"msg":"ok","ret":0}`
		noCometOld  = `{"msg":"ok","ret":1001}`
		paramOld    = `{"msg":"ok","ret":65534}`
		internalOld = `{"msg":"ok","ret":65535}`

		timeid = `{"timeid":17640000009990000}`

		newMsgs = `{"data":{"msgs":[{"msg":{"test":1},"mid":13999084541846400,"gid":0},` +
			`{"msg":"\u003cb\u003e \"q\" é","mid":13999084541846480,"gid":0}]},"ret":0}`
		oldMsgs = `{"data":{"msgs":["{\"msg\":\"{\\\"test\\\":1}\",\"mid\":13999084541846400,\"gid\":0}",` +
			`"{\"msg\":\"\\\"\\\\u003cb\\\\u003e \\\\\\\"q\\\\\\\" é\\\"\",\"mid\":13999084541846480,\"gid\":0}"],"pmsgs":[]},"msg":"ok","ret":0}`
		oldNone = `{"data":{"msgs":[],"pmsgs":[]},"msg":"ok","ret":0}`
	)
	long := strings.Repeat("k", 255)
	for _, tt := range []struct {
		name    string
		request string
		want    string // body; with a callback the type follows from it
	}{
		// server/get
		{"websocket", get("/1/server/get?k=a&p=1"), `{"data":{"server":"127.0.0.1:6968"},"ret":0}`},
		{"tcp", get("/1/server/get?k=a&p=2"), `{"data":{"server":"127.0.0.1:6969"},"ret":0}`},
		{"all of one", get("/2/server/get?k=a&p=2"), `{"data":{"server":["127.0.0.1:6969"]},"ret":0}`},
		{"all of several, IPv6 too", get("/2/server/get?k=six&p=1"), `{"data":{"server":["[::1]:6968","10.0.0.1:6968"]},"ret":0}`},
		{"one, exactly one colon", get("/1/server/get?k=six&p=1"), `{"data":{"server":"10.0.0.1:6968"},"ret":0}`},
		{"IPv6 only", get("/1/server/get?k=six&p=2"), noComet},
		{"protocol not offered", get("/1/server/get?k=deaf&p=2"), noComet},
		{"all, protocol not offered", get("/2/server/get?k=deaf&p=2"), noComet},
		{"comet away keeps its address", get("/1/server/get?k=away&p=2"), `{"data":{"server":"10.0.0.3:6969"},"ret":0}`},
		{"empty ring", get("/1/server/get?k=nobody&p=1"), noComet},
		{"old", get("/server/get?key=a&proto=1"), `{"data":{"server":"127.0.0.1:6968"},"msg":"ok","ret":0}`},
		{"old empty ring", get("/server/get?key=nobody&proto=2"), noCometOld},
		{"longest key", get("/1/server/get?k=" + long + "&p=2"), `{"data":{"server":"127.0.0.1:6969"},"ret":0}`},
		{"key too long", get("/1/server/get?k=" + long + "k&p=2"), param},
		{"no key", get("/1/server/get?p=2"), param},
		{"empty key", get("/2/server/get?k=&p=2"), param},
		{"key that cannot be decoded", get("/1/server/get?k=%zz&p=2"), param},
		{"no protocol", get("/1/server/get?k=a"), param},
		{"unknown protocol", get("/1/server/get?k=a&p=3"), param},
		{"old names on a new URL", get("/1/server/get?key=a&proto=1"), param},
		{"new names on an old URL", get("/server/get?k=a&p=1"), paramOld},
		{"unknown parameters", get("/1/server/get?k=a&p=1&_=99&format=json&expire=x&callback=<b>"), `{"data":{"server":"127.0.0.1:6968"},"ret":0}`},

		// msg/get
		{"all messages", get("/1/msg/get?k=kept&m=0"), newMsgs},
		{"messages after a mid", get("/1/msg/get?k=kept&m=13999084541846400&pmid=x"),
			`{"data":{"msgs":[{"msg":"\u003cb\u003e \"q\" é","mid":13999084541846480,"gid":0}]},"ret":0}`},
		{"no messages: no data", get("/1/msg/get?k=kept&m=13999084541846480"), ok},
		{"no messages of this key", get("/1/msg/get?k=none&m=0"), ok},
		{"largest mid", get("/1/msg/get?k=kept&m=9223372036854775807"), ok},
		{"mid past int64", get("/1/msg/get?k=kept&m=9223372036854775808"), param},
		{"negative mid", get("/1/msg/get?k=kept&m=-1"), param},
		{"mid is no number", get("/1/msg/get?k=kept&m=1e3"), param},
		{"no mid", get("/1/msg/get?k=kept"), param},
		{"messages of no key", get("/1/msg/get?m=0"), param},
		{"store down", get("/1/msg/get?k=down&m=0"), internal},
		{"store failed for the key", get("/1/msg/get?k=failed&m=0"), internal},
		{"key the store refuses", get("/1/msg/get?k=gopush:x&m=0"), param},
		{"token where auth is off", get("/1/msg/get?k=none&m=0&t=x"), ok},
		{"old messages", get("/msg/get?key=kept&mid=0&pmid=0"), oldMsgs},
		{"old, none: both arrays", get("/msg/get?key=none&mid=0&pmid=0"), oldNone},
		{"old, without pmid", get("/msg/get?key=none&mid=0"), oldNone},
		{"old, negative mid", get("/msg/get?key=none&mid=-1&pmid=0"), paramOld},
		{"old, no key", get("/msg/get?mid=0"), paramOld},
		{"old, store down", get("/msg/get?key=down&mid=0"), internalOld},

		// time/get
		{"time", get("/1/time/get"), `{"data":` + timeid + `,"ret":0}`},
		{"old time", get("/time/get"), `{"data":` + timeid + `,"msg":"ok","ret":0}`},

		// token/add
		{"token", get("/1/token/add?k=Terry-Mao&t=0"), ok},
		{"token with a life", get("/1/token/add?k=a&t=x&e=60"), ok},
		{"token for nobody", get("/1/token/add?t=x"), param},
		{"no token", get("/1/token/add?k=a"), param},
		{"empty token", get("/1/token/add?k=a&t="), param},
		{"life of no seconds", get("/1/token/add?k=a&t=x&e=0"), param},
		{"empty life", get("/1/token/add?k=a&t=x&e="), param},
		{"negative life", get("/1/token/add?k=a&t=x&e=-5"), param},
		{"token on an empty ring", get("/1/token/add?k=nobody&t=x"), noComet},

		// callbacks
		{"callback", get("/1/time/get?cb=GoPushCli.callback_1"), `GoPushCli.callback_1({"data":` + timeid + `,"ret":0})`},
		{"callback on an error", get("/1/server/get?k=nobody&p=1&cb=$f"), `$f({"ret":1001})`},
		{"callback on an old URL", get("/time/get?callback=f"), `f({"data":` + timeid + `,"msg":"ok","ret":0})`},
		{"callback on an old error", get("/msg/get?key=&callback=f"), `f({"msg":"ok","ret":65534})`},
		{"callback on an internal error", get("/1/msg/get?k=down&m=0&cb=f"), `f({"ret":65535})`},
		{"callback on token/add", get("/1/token/add?k=a&t=x&cb=f"), `f({"ret":0})`},
		{"callback by the old name", get("/1/time/get?callback=f"), `{"data":` + timeid + `,"ret":0}`},
		{"callback by the new name", get("/time/get?cb=f"), `{"data":` + timeid + `,"msg":"ok","ret":0}`},
		{"empty callback", get("/1/time/get?cb="), `{"data":` + timeid + `,"ret":0}`},
		{"callback with markup", get("/1/time/get?cb=%3Cscript%3E"), param},
		{"callback with a call", get("/time/get?callback=f()"), paramOld},
		{"callback with a line end", get("/1/time/get?cb=f%0d%0a"), param},
		{"callback beyond ASCII", get("/1/time/get?cb=%C3%A9"), param},
		{"longest callback", get("/1/time/get?cb=" + strings.Repeat("f", 64)), strings.Repeat("f", 64) + `({"data":` + timeid + `,"ret":0})`},
		{"callback too long", get("/1/time/get?cb=" + strings.Repeat("f", 65)), param},

		// push
		{"push", post("/1/admin/push/private?key=a&expire=600", `{"test":1}`), ok},
		{"old push has no msg", post("/admin/push?key=a&expire=600", `{"test":1}`), ok},
		{"old push, error has no msg", post("/admin/push?key=a", `{"test":1}`), param},
		{"push of null", post("/1/admin/push/private?key=a&expire=600", `null`), ok},
		{"push of a string", post("/1/admin/push/private?key=a&expire=0", ` "x" `), ok},
		{"push as a form", post("/1/admin/push/private?key=a&expire=600", `{"a":"b=c&d"}`, "Content-Type: application/x-www-form-urlencoded"), ok},
		{"push of nothing", post("/1/admin/push/private?key=a&expire=600", ``), param},
		{"push of no JSON", post("/1/admin/push/private?key=a&expire=600", `{test}`), param},
		{"push of two values", post("/1/admin/push/private?key=a&expire=600", `1 2`), param},
		{"push that is not UTF-8", post("/1/admin/push/private?key=a&expire=600", "\"\xff\""), param},
		{"push without expire", post("/1/admin/push/private?key=a", `1`), param},
		{"push with an empty expire", post("/1/admin/push/private?key=a&expire=", `1`), param},
		{"push with a negative expire", post("/1/admin/push/private?key=a&expire=-1", `1`), param},
		{"push with a fraction", post("/1/admin/push/private?key=a&expire=1.5", `1`), param},
		{"push for 68 years", post("/1/admin/push/private?key=a&expire=2147483647", `1`), ok},
		{"push for 101 years", post("/1/admin/push/private?key=a&expire=3185136000", `1`), param},
		{"push to nobody", post("/1/admin/push/private?expire=600", `1`), param},
		{"push by the short name", post("/1/admin/push/private?k=a&expire=600", `1`), param},
		{"push to a key too long", post("/1/admin/push/private?key="+long+"k&expire=600", `1`), param},
		{"push on an empty ring", post("/1/admin/push/private?key=nobody&expire=600", `1`), noComet},
		{"push not stored", post("/1/admin/push/private?key=bad&expire=600", `1`), internal},
		{"push to a key the store refuses", post("/1/admin/push/private?key=gopush:x&expire=600", `1`), param},
		{"push ignores callbacks", post("/1/admin/push/private?key=a&expire=600&cb=f&callback=g", `1`), ok},
		{"chunked body", "POST /admin/push?key=a&expire=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", ok},

		// mprivate
		{"many", post("/1/admin/push/mprivate?expire=600", `{"m":"{\"test\":1}","k":"a,b"}`), ok},
		{"many, some failed, in order", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":"bad2,a,bad1"}`), `{"data":{"fk":["bad2","bad1"]},"ret":0}`},
		{"many, all failed", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":"bad"}`), `{"data":{"fk":["bad"]},"ret":0}`},
		{"many, one too long", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":"a,`+long+`k"}`), `{"data":{"fk":["` + long + `k"]},"ret":0}`},
		{"many, markup in a key", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":"bad<b>"}`), `{"data":{"fk":["bad\u003cb\u003e"]},"ret":0}`},
		{"many, no keys", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":" ,, "}`), param},
		{"many, k missing", post("/1/admin/push/mprivate?expire=600", `{"m":"1"}`), param},
		{"many, m missing", post("/1/admin/push/mprivate?expire=600", `{"k":"a"}`), param},
		{"many, m is no string", post("/1/admin/push/mprivate?expire=600", `{"m":{"test":1},"k":"a"}`), param},
		{"many, m is no JSON", post("/1/admin/push/mprivate?expire=600", `{"m":"{test}","k":"a"}`), param},
		{"many, body is no JSON", post("/1/admin/push/mprivate?expire=600", `m=1&k=a`), param},
		{"many, body is not UTF-8", post("/1/admin/push/mprivate?expire=600", "{\"m\":\"1\",\"k\":\"\xff\"}"), param},
		{"many, without expire", post("/1/admin/push/mprivate", `{"m":"1","k":"a"}`), param},
		{"many on an empty ring", post("/1/admin/push/mprivate?expire=600", `{"m":"1","k":"nobody"}`), noComet},

		// del, clean
		{"delete", post("/1/admin/msg/del?key=a", ``), ok},
		{"delete by form", post("/1/admin/msg/del", `key=a`, "Content-Type: application/x-www-form-urlencoded"), ok},
		{"delete by form under any type", post("/1/admin/msg/del", `key=a`, "Content-Type: application/json"), ok},
		{"old clean", post("/admin/msg/clean", `key=a`), ok},
		{"old clean by query", post("/admin/msg/clean?key=a", ``), ok},
		{"delete of nobody", post("/1/admin/msg/del", `k=a`), param},
		{"delete, store down", post("/1/admin/msg/del?key=down", ``), internal},
		{"delete of a key the store refuses", post("/admin/msg/clean", `key=gopush:x`), param},

		// ours
		{"nodes", get("/1/admin/nodes"), `{"data":{"nodes":[` +
			`{"name":"away","weight":0,"share":0,"active":"","standbys":0,"rpc":null,"tcp":["10.0.0.3:6969"],"ws":null,"alive":false},` +
			`{"name":"deaf","weight":0,"share":0,"active":"","standbys":0,"rpc":null,"tcp":null,"ws":["10.0.0.2:6968"],"alive":false},` +
			`{"name":"node1","weight":1,"share":1,"active":"0000000001","standbys":0,"rpc":["node1:6970"],"tcp":["127.0.0.1:6969"],"ws":["127.0.0.1:6968"],"alive":true},` +
			`{"name":"six","weight":0,"share":0,"active":"","standbys":0,"rpc":null,"tcp":["[::1]:6969"],"ws":["[::1]:6968","10.0.0.1:6968"],"alive":false}],"epoch":7},"ret":0}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line, _, _ := strings.Cut(tt.request, " HTTP")
			addr := f.HTTPAddrs()[0]
			if strings.Contains(line, "/admin/") {
				addr = f.AdminAddrs()[0]
			}
			res, body := exchange(t, addr, tt.request)
			if body != tt.want {
				t.Errorf("%s\n got %s\nwant %s", line, body, tt.want)
			}
			wantType := plainType
			if !strings.HasPrefix(tt.want, "{") {
				wantType = scriptType
			}
			checkFrame(t, res, body, http.StatusOK, wantType)
		})
	}
}

// checkFrame checks what is around every body.
func checkFrame(t *testing.T, res *http.Response, body string, status int, contentType string) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("status = %d, want %d", res.StatusCode, status)
	}
	for name, want := range map[string]string{
		"Content-Type":           contentType,
		"Content-Encoding":       "",
		"Transfer-Encoding":      "",
		"X-Content-Type-Options": "nosniff",
		"Cache-Control":          "no-store",
	} {
		if got := strings.Join(res.Header.Values(name), "|"); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if res.Request.Method != http.MethodHead {
		if got := res.Header.Get("Content-Length"); got != strconv.Itoa(len(body)) || len(res.TransferEncoding) > 0 {
			t.Errorf("Content-Length = %q, Transfer-Encoding %q, for a body of %d bytes", got, res.TransferEncoding, len(body))
		}
	}
}

// TestNoRet are the answers without a ret: the URL or the method is wrong.
func TestNoRet(t *testing.T) {
	f := newContract(t)
	public, admin := f.HTTPAddrs()[0], f.AdminAddrs()[0]
	for _, tt := range []struct {
		name, addr, request string
		status              int
		allow               string
	}{
		{"unknown", public, get("/"), 404, ""},
		{"slash at the end", public, get("/1/time/get/"), 404, ""},
		{"two slashes are not folded", public, get("//1/time/get"), 404, ""},
		{"admin URL on the public port", public, post("/1/admin/push/private?key=a&expire=1", "1"), 404, ""},
		{"nodes on the public port", public, get("/1/admin/nodes"), 404, ""},
		{"public URL on the admin port", admin, get("/1/server/get?k=a&p=1"), 404, ""},
		{"asterisk", public, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, ""},
		{"head", public, "HEAD /1/time/get HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET"},
		{"post", public, post("/1/server/get?k=a&p=1", ""), 405, "GET"},
		{"old head", public, "HEAD /time/get HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET"},
		{"options", public, "OPTIONS /1/time/get HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "GET"},
		{"get of a push", admin, get("/1/admin/push/private?key=a&expire=1"), 405, "POST"},
		{"get of an old push", admin, get("/admin/push?key=a&expire=1"), 405, "POST"},
		{"get of many", admin, get("/1/admin/push/mprivate?expire=1"), 405, "POST"},
		{"get of a deletion", admin, get("/1/admin/msg/del?key=a"), 405, "POST"},
		{"put", admin, "PUT /admin/msg/clean?key=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405, "POST"},
		{"get of a drain", admin, get("/1/admin/node/drain?node=node1"), 405, "POST"},
		{"drain on the public port", public, post("/1/admin/node/drain?node=node1", ""), 404, ""},
		{"post of nodes", admin, post("/1/admin/nodes", ""), 405, "GET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body := exchange(t, tt.addr, tt.request)
			checkFrame(t, res, body, tt.status, "text/plain;charset=utf-8")
			if got := res.Header.Get("Allow"); got != tt.allow {
				t.Errorf("Allow = %q, want %q", got, tt.allow)
			}
		})
	}
	if f.comet().pushed() != 0 || len(f.messages.deleted) != 0 {
		t.Error("a refused request was carried out")
	}
}

func (f *fixture) comet() *fakeComet { return f.cluster.comet }

func (c *fakeComet) pushed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pushes)
}

// TestRoutes holds the tables of route.go against the contract.
func TestRoutes(t *testing.T) {
	var got []string
	for path, e := range public {
		got = append(got, e.method+" "+path)
	}
	for path, e := range internal {
		got = append(got, e.method+" "+path+" internal")
	}
	want := map[string]bool{
		"GET /1/server/get": true, "GET /2/server/get": true, "GET /1/msg/get": true, "GET /1/time/get": true,
		"GET /1/token/add": true, "GET /server/get": true, "GET /msg/get": true, "GET /time/get": true,
		"POST /1/admin/push/private internal": true, "POST /1/admin/push/mprivate internal": true,
		"POST /1/admin/msg/del internal": true, "POST /admin/push internal": true, "POST /admin/msg/clean internal": true,
		"GET /1/token/add internal": true, "GET /1/admin/nodes internal": true,
		"POST /1/admin/node/weight internal": true, "POST /1/admin/node/drain internal": true,
	}
	for _, g := range got {
		if !want[g] {
			t.Errorf("%s is served and not in the contract", g)
		}
		delete(want, g)
	}
	for w := range want {
		t.Errorf("%s is in the contract and not served", w)
	}
}
