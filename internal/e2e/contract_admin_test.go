package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func testHTTPAdmin(t *testing.T, c *cluster) {
	admin := c.webs[0].admin
	const private, many, del = "/1/admin/push/private", "/1/admin/push/mprivate", "/1/admin/msg/del"
	rows := []struct{ name, target, body, want string }{
		{"push", private + "?key=admin&expire=600", `{"a":1}`, `{"ret":0}`},
		{"push null", private + "?key=admin&expire=600", `null`, `{"ret":0}`},
		{"push to who is online", private + "?key=admin&expire=0", `{"a":1}`, `{"ret":0}`},
		{"push for ever", private + "?key=admin&expire=2147483647", `{"a":1}`, `{"ret":0}`},
		{"old push", "/admin/push?key=admin&expire=600", `"x"`, `{"ret":0}`},
		{"unknown parameters", private + "?key=admin&expire=600&gid=0&format=x", `1`, `{"ret":0}`},
		{"push without key", private + "?expire=600", `1`, `{"ret":65534}`},
		{"push to an empty key", private + "?key=&expire=600", `1`, `{"ret":65534}`},
		{"push to a long key", private + "?expire=600&key=" + strings.Repeat("k", 256), `1`, `{"ret":65534}`},
		{"push to a name of ours in a shared store", private + "?expire=600&key=gopush:x", `1`, `{"ret":65534}`},
		{"push without expire", private + "?key=admin", `1`, `{"ret":65534}`},
		{"push with an empty expire", private + "?key=admin&expire=", `1`, `{"ret":65534}`},
		{"push with a negative expire", private + "?key=admin&expire=-1", `1`, `{"ret":65534}`},
		{"push with no number", private + "?key=admin&expire=x", `1`, `{"ret":65534}`},
		{"push of nothing", private + "?key=admin&expire=600", ``, `{"ret":65534}`},
		{"push of no JSON", private + "?key=admin&expire=600", `{"a":`, `{"ret":65534}`},
		{"push of two values", private + "?key=admin&expire=600", `1 2`, `{"ret":65534}`},
		{"push of no UTF-8", private + "?key=admin&expire=600", "\"\xff\"", `{"ret":65534}`},
		{"old push without expire", "/admin/push?key=admin", `1`, `{"ret":65534}`},
		{"many", many + "?expire=600", `{"m":"{\"a\":1}","k":"admin1,admin2,admin1"}`, `{"ret":0}`},
		{"many without expire", many, `{"m":"1","k":"admin1"}`, `{"ret":65534}`},
		{"many without keys", many + "?expire=600", `{"m":"1","k":""}`, `{"ret":65534}`},
		{"many without message", many + "?expire=600", `{"k":"admin1"}`, `{"ret":65534}`},
		{"many with a message that is no JSON", many + "?expire=600", `{"m":"{","k":"admin1"}`, `{"ret":65534}`},
		{"many of no JSON", many + "?expire=600", `{"m":`, `{"ret":65534}`},
		{"delete by query", del + "?key=admin", ``, `{"ret":0}`},
		{"delete by form", del, `key=admin`, `{"ret":0}`},
		{"old delete", "/admin/msg/clean?key=admin", ``, `{"ret":0}`},
		{"old delete by form", "/admin/msg/clean", `key=admin`, `{"ret":0}`},
		{"delete without key", del, ``, `{"ret":65534}`},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			// curl -d: the type says form, the body is taken as it is.
			r := send(t, admin, "POST", tt.target, tt.body, "Content-Type: application/x-www-form-urlencoded")
			wantBody(t, r, tt.want)
		})
	}
	t.Run("what was pushed", func(t *testing.T) {
		c := c.with(t)
		key := "admin raw"
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain", ""} {
			body := fmt.Sprintf(`{"a":"%s & = + %%41"}`, contentType)
			var headers []string
			if contentType != "" {
				headers = append(headers, "Content-Type: "+contentType)
			}
			wantBody(t, send(t, admin, "POST", private+"?expire=600&key="+url.QueryEscape(key), body, headers...), `{"ret":0}`)
			m := c.mustFetch(key, 0)
			if want := strings.ReplaceAll(body, "&", `\u0026`); len(m) == 0 || m[len(m)-1].msg != want {
				t.Errorf("%s: fetched %v, want %s last", contentType, m, want)
			}
		}
		for _, target := range []string{del + "?key=" + url.QueryEscape(key)} {
			wantBody(t, send(t, admin, "POST", target, ""), `{"ret":0}`)
		}
		if m := c.mustFetch(key, 0); len(m) != 0 {
			t.Errorf("%v is left after delete", m)
		}
	})
	t.Run("a key named twice gets it once", func(t *testing.T) {
		c := c.with(t)
		ret, failed, err := c.pushMany(c.webs[0], []string{"twice", "once", "twice"}, 600, `{"x":1}`)
		if ret != 0 || len(failed) != 0 || err != nil {
			t.Fatalf("ret %d, fk %q, %v, want 0 and none", ret, failed, err)
		}
		if m := c.mustFetch("twice", 0); len(m) != 1 {
			t.Errorf("%d messages, want 1", len(m))
		}
	})
	t.Run("expire 0 is not kept", func(t *testing.T) {
		c := c.with(t)
		if ret, err := c.push(c.webs[0], "fleeting", 0, `1`); ret != 0 || err != nil {
			t.Fatalf("ret %d, %v", ret, err)
		}
		if m := c.mustFetch("fleeting", 0); len(m) != 0 {
			t.Errorf("%v is kept", m)
		}
	})
	t.Run("a message of 1 MiB and one byte more", func(t *testing.T) {
		c := c.with(t)
		for _, tt := range []struct{ n, ret int }{{1 << 20, 0}, {1<<20 + 1, 65534}} {
			ret, err := c.push(c.webs[0], "large", 600, `"`+strings.Repeat("x", tt.n-2)+`"`)
			if ret != tt.ret || err != nil {
				t.Errorf("%d bytes: ret %d, %v, want %d", tt.n, ret, err, tt.ret)
			}
		}
	})
}

// testHTTPMethods proves that a wrong method is 405, on URLs old and new, and
// that a listener serves no more than it should.
func testHTTPMethods(t *testing.T, c *cluster) {
	public := []string{"/1/server/get", "/2/server/get", "/1/msg/get", "/1/time/get", "/1/token/add", "/server/get", "/msg/get", "/time/get"}
	internal := []string{"/1/admin/push/private", "/admin/push", "/1/admin/push/mprivate", "/1/admin/msg/del", "/admin/msg/clean"}
	for _, path := range public {
		for _, method := range []string{"POST", "HEAD", "PUT", "DELETE"} {
			if r := send(t, c.webs[0].web, method, path+"?k=a&p=2&m=0&t=0", ""); r.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d, want 405", method, path, r.status)
			}
		}
	}
	for _, path := range internal {
		for _, method := range []string{"GET", "HEAD", "PUT"} {
			if r := send(t, c.webs[0].admin, method, path+"?key=a&expire=0", ""); r.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d, want 405", method, path, r.status)
			}
		}
		if r := send(t, c.webs[0].web, "POST", path+"?key=a&expire=0", "1"); r.status != http.StatusNotFound {
			t.Errorf("%s on http.bind: status %d, want 404", path, r.status)
		}
	}
}

// testTokenAdd proves who may call /1/token/add on the public address.
func testTokenAdd(t *testing.T, c *cluster) {
	web, admin := c.webs[0].web, c.webs[0].admin
	const target = "/1/token/add?k=Terry-Mao&t=0"
	rows := []struct{ name, target, want string }{
		{"token 0", target, `{"ret":0}`},
		{"with seconds", target + "&e=3600", `{"ret":0}`},
		{"without key", "/1/token/add?t=0", `{"ret":65534}`},
		{"without token", "/1/token/add?k=Terry-Mao", `{"ret":65534}`},
		{"seconds that are no number", target + "&e=x", `{"ret":65534}`},
		{"negative seconds", target + "&e=-1", `{"ret":65534}`},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) { wantBody(t, get(t, web, tt.target), tt.want) })
	}
	t.Run("callback", func(t *testing.T) {
		if r := get(t, web, target+"&cb=f"); r.body != `f({"ret":0})` {
			t.Errorf("body %q, want f({…})", r.body)
		}
	})
	t.Run("on the internal address", func(t *testing.T) { wantBody(t, get(t, admin, target), `{"ret":0}`) })
	_, port, _ := strings.Cut(web, ":")
	raw := func(version, host string, headers ...string) string {
		return "GET " + target + " HTTP/" + version + "\r\nHost: " + host + "\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	}
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"localhost", raw("1.1", "localhost:"+port), 200},
		{"localhost without port", raw("1.1", "localhost"), 200},
		{"IPv6 loopback", raw("1.1", "[::1]:"+port), 200},
		{"forwarded for", raw("1.1", web, "X-Forwarded-For: 127.0.0.1"), 403},
		{"forwarded", raw("1.1", web, "Forwarded: for=127.0.0.1"), 403},
		{"real ip", raw("1.1", web, "X-Real-IP: 127.0.0.1"), 403},
		{"host of a site", raw("1.1", "push.example.com"), 403},
		{"host that begins like loopback", raw("1.1", "localhost.example.com"), 403},
		{"HTTP/1.0", raw("1.0", web), 403},
		{"another site's origin", raw("1.1", web, "Origin: https://example.com"), 403},
		{"another site's fetch", raw("1.1", web, "Sec-Fetch-Site: cross-site"), 403},
		{"a fetch of its own", raw("1.1", web, "Sec-Fetch-Site: same-origin"), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := exchange(web, tt.request)
			if err != nil || r.status != tt.status {
				t.Errorf("status %d, %v, want %d", r.status, err, tt.status)
			}
		})
	}
}
