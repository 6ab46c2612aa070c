package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const jsonType = "application/json;charset=utf-8"

// wantHTTP checks what docs/protocol.md, "Web over HTTP", says about every
// answer that has a ret.
func wantHTTP(t *testing.T, r response, contentType string) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Errorf("status %d, want 200", r.status)
	}
	if got := r.header["Content-Type"]; !reflect.DeepEqual(got, []string{contentType}) {
		t.Errorf("Content-Type %q, want %q", got, contentType)
	}
	if r.chunked || r.length != int64(len(r.body)) {
		t.Errorf("Content-Length %d, chunked %v, want %d and not chunked", r.length, r.chunked, len(r.body))
	}
	if e := r.header.Get("Content-Encoding"); e != "" {
		t.Errorf("Content-Encoding %q, want none", e)
	}
}

// wantBody checks the answer byte for byte.
func wantBody(t *testing.T, r response, body string) {
	t.Helper()
	wantHTTP(t, r, jsonType)
	if r.body != body {
		t.Errorf("body %q, want %q", r.body, body)
	}
}

// wantJSON checks the answer up to the order of its fields, where the contract
// fixes none.
func wantJSON(t *testing.T, r response, want string) {
	t.Helper()
	wantHTTP(t, r, jsonType)
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(r.body), &g); err != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("body %q, %v, want %s", r.body, err, want)
	}
}

func testHTTPPublic(t *testing.T, c *cluster) {
	web := c.webs[0].web
	comet := c.comets[0]
	key := c.keyOf(comet, "public")
	k := url.QueryEscape(key)

	rows := []struct{ name, target, want string }{
		{"server of tcp", "/1/server/get?k=" + k + "&p=2", fmt.Sprintf(`{"data":{"server":"%s"},"ret":0}`, comet.tcp)},
		{"server of websocket", "/1/server/get?k=" + k + "&p=1", fmt.Sprintf(`{"data":{"server":"%s"},"ret":0}`, comet.ws)},
		{"all servers of tcp", "/2/server/get?k=" + k + "&p=2", fmt.Sprintf(`{"data":{"server":["%s"]},"ret":0}`, comet.tcp)},
		{"all servers of websocket", "/2/server/get?k=" + k + "&p=1", fmt.Sprintf(`{"data":{"server":["%s"]},"ret":0}`, comet.ws)},
		{"unknown parameters", "/1/server/get?k=" + k + "&p=2&_=17&format=json&expire=1", fmt.Sprintf(`{"data":{"server":"%s"},"ret":0}`, comet.tcp)},
		{"server without key", "/1/server/get?p=2", `{"ret":65534}`},
		{"server of an empty key", "/1/server/get?k=&p=2", `{"ret":65534}`},
		{"server of a long key", "/1/server/get?p=2&k=" + strings.Repeat("k", 256), `{"ret":65534}`},
		{"server without protocol", "/1/server/get?k=" + k, `{"ret":65534}`},
		{"server of protocol 3", "/1/server/get?k=" + k + "&p=3", `{"ret":65534}`},
		{"server of protocol x", "/2/server/get?k=" + k + "&p=x", `{"ret":65534}`},
		{"no messages: no data at all", "/1/msg/get?k=nobody&m=0", `{"ret":0}`},
		{"messages without key", "/1/msg/get?m=0", `{"ret":65534}`},
		{"messages of an empty key", "/1/msg/get?k=&m=0", `{"ret":65534}`},
		{"messages after a negative mid", "/1/msg/get?k=" + k + "&m=-1", `{"ret":65534}`},
		{"messages after no number", "/1/msg/get?k=" + k + "&m=x", `{"ret":65534}`},
		{"messages without mid", "/1/msg/get?k=" + k, `{"ret":65534}`},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) { wantBody(t, get(t, web, tt.target), tt.want) })
	}

	t.Run("messages", func(t *testing.T) {
		c := c.with(t)
		c.mustPush(key, `{"n":1}`)
		c.mustPush(key, `{ "n" : "<2>" }`)
		m := c.mustFetch(key, 0)
		if len(m) != 2 {
			t.Fatalf("%d messages, want 2", len(m))
		}
		want := fmt.Sprintf(`{"data":{"msgs":[{"msg":{"n":1},"mid":%d,"gid":0},{"msg":{"n":"\u003c2\u003e"},"mid":%d,"gid":0}]},"ret":0}`, m[0].mid, m[1].mid)
		wantBody(t, get(t, web, "/1/msg/get?k="+k+"&m=0"), want)
		want = fmt.Sprintf(`{"data":{"msgs":[{"msg":{"n":"\u003c2\u003e"},"mid":%d,"gid":0}]},"ret":0}`, m[1].mid)
		wantBody(t, get(t, web, fmt.Sprintf("/1/msg/get?k=%s&m=%d&pmid=0&_=1", k, m[0].mid)), want)
		wantBody(t, get(t, web, fmt.Sprintf("/1/msg/get?k=%s&m=%d", k, m[1].mid)), `{"ret":0}`)
		r := send(t, web, "GET", "/1/msg/get?k="+k+"&m=0", "", "Accept-Encoding: gzip, br")
		wantHTTP(t, r, jsonType)
	})
	for _, target := range []string{"/1/time/get", "/time/get"} {
		t.Run(target, func(t *testing.T) {
			before := time.Now().UnixNano() / 100
			r := get(t, web, target)
			after := time.Now().UnixNano() / 100
			var a struct {
				Data struct{ Timeid int64 }
				Ret  *int
			}
			if err := json.Unmarshal([]byte(r.body), &a); err != nil || a.Ret == nil || *a.Ret != 0 {
				t.Fatalf("body %q: %v", r.body, err)
			}
			if a.Data.Timeid < before || a.Data.Timeid > after {
				t.Errorf("timeid %d, want it between %d and %d", a.Data.Timeid, before, after)
			}
			want := fmt.Sprintf(`{"data":{"timeid":%d},"ret":0}`, a.Data.Timeid)
			if target == "/time/get" {
				want = fmt.Sprintf(`{"data":{"timeid":%d},"msg":"ok","ret":0}`, a.Data.Timeid)
				wantJSON(t, r, want)
			} else {
				wantBody(t, r, want)
			}
		})
	}
}

func testHTTPOld(t *testing.T, c *cluster) {
	web := c.webs[1].web
	comet := c.comets[1]
	key := c.keyOf(comet, "old")
	rows := []struct{ name, target, want string }{
		{"server of tcp", "/server/get?key=" + key + "&proto=2", fmt.Sprintf(`{"data":{"server":"%s"},"msg":"ok","ret":0}`, comet.tcp)},
		{"server of websocket", "/server/get?key=" + key + "&proto=1", fmt.Sprintf(`{"data":{"server":"%s"},"msg":"ok","ret":0}`, comet.ws)},
		{"server without key", "/server/get?proto=2", `{"msg":"ok","ret":65534}`},
		{"server without protocol", "/server/get?key=" + key, `{"msg":"ok","ret":65534}`},
		{"no messages: both arrays are there", "/msg/get?key=nobody&mid=0&pmid=0", `{"data":{"msgs":[],"pmsgs":[]},"msg":"ok","ret":0}`},
		{"messages without key", "/msg/get?mid=0&pmid=0", `{"msg":"ok","ret":65534}`},
		{"messages after a negative mid", "/msg/get?key=" + key + "&mid=-1&pmid=0", `{"msg":"ok","ret":65534}`},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) { wantJSON(t, get(t, web, tt.target), tt.want) })
	}
	t.Run("messages as strings of the old form", func(t *testing.T) {
		c := c.with(t)
		wantBody(t, send(t, c.webs[1].admin, "POST", "/admin/push?key="+key+"&expire=600", `{"test":"<1>"}`), `{"ret":0}`)
		m := c.mustFetch(key, 0)
		if len(m) != 1 {
			t.Fatalf("%d messages, want 1", len(m))
		}
		body := fmt.Sprintf(`{"msg":"{\"test\":\"\\u003c1\\u003e\"}","mid":%d,"gid":0}`, m[0].mid)
		var a struct{ Data struct{ Msgs []string } }
		r := get(t, web, "/msg/get?key="+key+"&mid=0&pmid=0")
		if err := json.Unmarshal([]byte(r.body), &a); err != nil || len(a.Data.Msgs) != 1 || a.Data.Msgs[0] != body {
			t.Errorf("body %q, %v, want one message %q", r.body, err, body)
		}
		wantJSON(t, r, fmt.Sprintf(`{"data":{"msgs":[%s],"pmsgs":[]},"msg":"ok","ret":0}`, strconv.Quote(body)))
		wantBody(t, send(t, c.webs[1].admin, "POST", "/admin/msg/clean?key="+key, ""), `{"ret":0}`)
		wantJSON(t, get(t, web, "/msg/get?key="+key+"&mid=0&pmid=0"), `{"data":{"msgs":[],"pmsgs":[]},"msg":"ok","ret":0}`)
	})
}

func testHTTPCallbacks(t *testing.T, c *cluster) {
	web := c.webs[0].web
	const scriptType = "application/javascript;charset=utf-8"
	long := strings.Repeat("c", 64)
	for _, cb := range []string{"cb", "GoPushCli.callback_x", "$", "_9", "a.b.c", long} {
		for _, target := range []string{"/1/msg/get?k=nobody&m=0&cb=", "/1/msg/get?k=&m=0&cb="} {
			t.Run(target+cb, func(t *testing.T) {
				r := get(t, web, target+url.QueryEscape(cb))
				wantHTTP(t, r, scriptType)
				ret := 0
				if strings.Contains(target, "k=&") {
					ret = 65534
				}
				if want := fmt.Sprintf(`%s({"ret":%d})`, cb, ret); r.body != want {
					t.Errorf("body %q, want %q", r.body, want)
				}
			})
		}
	}
	for _, cb := range []string{"alert(1)", "a b", "<script>", "a;b", long + "c", "a-b", "ü", "a\nb"} {
		t.Run("refused "+cb, func(t *testing.T) {
			wantBody(t, get(t, web, "/1/time/get?cb="+url.QueryEscape(cb)), `{"ret":65534}`)
			wantJSON(t, get(t, web, "/time/get?callback="+url.QueryEscape(cb)), `{"msg":"ok","ret":65534}`)
		})
	}
	t.Run("every public URL", func(t *testing.T) {
		for _, target := range []string{
			"/1/server/get?k=a&p=2&cb=f", "/2/server/get?k=a&p=1&cb=f", "/1/msg/get?k=a&m=0&cb=f", "/1/time/get?cb=f",
			"/server/get?key=a&proto=2&callback=f", "/msg/get?key=a&mid=0&pmid=0&callback=f", "/time/get?callback=f",
		} {
			r := get(t, web, target)
			wantHTTP(t, r, scriptType)
			inner, ok := strings.CutPrefix(r.body, "f(")
			inner, end := strings.CutSuffix(inner, ")")
			if !ok || !end || !json.Valid([]byte(inner)) {
				t.Errorf("%s: body %q, want f({…})", target, r.body)
			}
		}
	})
}

// testWebsAgree proves that either web gives the same answers, and that the
// comet which is named accepts the key while the other answers -n.
func testWebsAgree(t *testing.T, c *cluster) {
	seen := make(map[string]int)
	for i := range 64 {
		key := fmt.Sprintf("Terry-Mao-%d", i)
		if i == 0 {
			key = "Terry-Mao"
		}
		for _, p := range []string{"1", "2"} {
			a := get(t, c.webs[0].web, "/1/server/get?p="+p+"&k="+key)
			b := get(t, c.webs[1].web, "/1/server/get?p="+p+"&k="+key)
			if a.body != b.body {
				t.Errorf("%s: one web says %s, the other %s", key, a.body, b.body)
			}
		}
		owner := c.owner(key)
		seen[owner.tcp]++
		for _, d := range c.comets {
			want := "-n\r\n"
			if d == owner {
				want = "+h\r\n"
			}
			if got, err := knock(d.tcp, key); got != want {
				t.Errorf("%s at %s: %q, %v, want %q", key, d.tcp, got, err, want)
			}
			ws := dialWS(t, d.ws, "heartbeat=30&key="+key)
			ws.want(want)
			ws.close()
		}
	}
	if len(seen) != len(c.comets) {
		t.Errorf("64 keys lie on %v, want all %d comets", seen, len(c.comets))
	}
}

// testExpiry proves that an expired message is never served. Expiries are whole
// seconds, rounded up.
func testExpiry(t *testing.T, c *cluster) {
	const key = "expiry"
	if ret, err := c.push(c.webs[0], key, 2, `"short"`); ret != 0 || err != nil {
		t.Fatalf("ret %d, %v", ret, err)
	}
	end := time.Now().Add(3 * time.Second)
	c.mustPush(key, `"long"`)
	if m := c.mustFetch(key, 0); time.Now().Before(end.Add(-2*time.Second)) && len(m) != 2 {
		t.Errorf("fetched %v, want both", m)
	}
	time.Sleep(time.Until(end)) // the contract says this moment
	if m := c.mustFetch(key, 0); len(m) != 1 || m[0].msg != `"long"` {
		t.Errorf("fetched %v after the first has expired, want the second alone", m)
	}
}

// testStat proves that /stat is JSON that holds no key's payload or token.
func testStat(t *testing.T, c *cluster) {
	c.mustPush("stat", `"`+payloadMark+`"`)
	for _, d := range c.daemons() {
		r := get(t, d.stat, "/stat")
		if r.status != http.StatusOK || !json.Valid([]byte(r.body)) {
			t.Errorf("%s: /stat: %d %q, want JSON", d.kind, r.status, r.body)
		}
		if strings.Contains(r.body, payloadMark) {
			t.Errorf("%s: /stat holds a payload", d.kind)
		}
		if r := get(t, d.stat, "/healthz"); r.status != http.StatusOK {
			t.Errorf("%s: /healthz: %d %q", d.kind, r.status, r.body)
		}
	}
}
