package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"gopush-cluster/internal/peer"
)

// asked builds a request as net/http hands it over.
func asked(from, host, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr, r.Host = from, host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func sign(secret, key, token string, ts int64) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%d", key, token, ts)
	return fmt.Sprintf("ts=%d&sig=%s", ts, hex.EncodeToString(mac.Sum(nil)))
}

// TestMayAddToken is the table of who may add a token on the public port.
func TestMayAddToken(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	f.rules.Store(&rules{
		tokenSecret: []byte("s3cret"),
		tokenAllow:  []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")},
	})
	const (
		add  = "/1/token/add?k=a&t=x"
		here = "127.0.0.1:50000"
		far  = "203.0.113.9:50000"
	)
	now := at.Unix()
	old := asked(here, "localhost:8090", add)
	old.Proto, old.ProtoMajor, old.ProtoMinor = "HTTP/1.0", 1, 0
	signedOld := asked(here, "localhost:8090", add+"&"+sign("s3cret", "a", "x", now))
	signedOld.Proto, signedOld.ProtoMajor, signedOld.ProtoMinor = "HTTP/1.0", 1, 0
	for _, tt := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"loopback", asked(here, "localhost:8090", add), true},
		{"loopback by address", asked("127.9.9.9:1", "127.0.0.1:8090", add), true},
		{"loopback IPv6", asked("[::1]:1", "[::1]:8090", add), true},
		{"loopback IPv4 in IPv6", asked("[::ffff:127.0.0.1]:1", "localhost", add), true},
		{"own page", asked(here, "localhost:8090", add, "Origin: http://localhost:8090", "Sec-Fetch-Site: same-origin"), true},
		{"typed into a browser", asked(here, "localhost:8090", add, "Sec-Fetch-Site: none"), true},
		{"timestamp of somebody else's, no signature", asked(here, "localhost:8090", add+"&ts=1"), true},

		{"from outside", asked(far, "push.example.com", add), false},
		{"from outside, claims localhost", asked(far, "localhost:8090", add), false},
		{"from outside, IPv6", asked("[2001:db8::1]:1", "localhost", add), false},
		{"peer unknown", asked("@", "localhost", add), false},
		{"X-Forwarded-For", asked(here, "localhost:8090", add, "X-Forwarded-For: 127.0.0.1"), false},
		{"empty X-Forwarded-For", asked(here, "localhost:8090", add, "X-Forwarded-For: "), false},
		{"Forwarded", asked(here, "localhost:8090", add, "Forwarded: for=127.0.0.1"), false},
		{"X-Real-IP", asked(here, "localhost:8090", add, "X-Real-IP: 127.0.0.1"), false},
		{"plain proxy", old, false},
		{"page of another site", asked(here, "localhost:8090", add, "Origin: https://evil.example"), false},
		{"page of another port", asked(here, "localhost:8090", add, "Origin: http://localhost:3000"), false},
		{"sandboxed page", asked(here, "localhost:8090", add, "Origin: null"), false},
		{"image in a page", asked(here, "localhost:8090", add, "Sec-Fetch-Site: cross-site"), false},
		{"page of the same site", asked(here, "localhost:8090", add, "Sec-Fetch-Site: same-site"), false},
		{"two origins", asked(here, "localhost:8090", add, "Origin: http://localhost:8090", "Origin: http://evil.example"), false},
		{"name that points here", asked(here, "evil.example:8090", add), false},
		{"name that begins like ours", asked(here, "localhost.evil.example", add), false},
		{"machine's own name", asked(here, "push1:8090", add), false},
		{"no Host", asked(here, "", add), false},

		{"allowed network", asked("10.1.2.3:1", "web.internal:8090", add), true},
		{"allowed network, IPv4 in IPv6", asked("[::ffff:10.1.2.3]:1", "web.internal:8090", add), true},
		{"allowed IPv6 with a zone", asked("[fd00::1%eth0]:1", "web.internal:8090", add), true},
		{"beside the allowed network", asked("10.2.0.1:1", "web.internal:8090", add), false},
		{"allowed network, forwarded", asked("10.1.2.3:1", "web.internal:8090", add, "X-Forwarded-For: 10.1.9.9"), false},
		{"allowed network, cross-site", asked("10.1.2.3:1", "web.internal:8090", add, "Origin: https://evil.example"), false},

		{"signed", asked(far, "push.example.com", add+"&"+sign("s3cret", "a", "x", now)), true},
		{"signed, forwarded", asked(here, "push.example.com", add+"&"+sign("s3cret", "a", "x", now), "X-Forwarded-For: 203.0.113.9"), true},
		{"signed, plain proxy", signedOld, true},
		{"signed a minute ago", asked(far, "h", add+"&"+sign("s3cret", "a", "x", now-60)), true},
		{"signed by a fast clock", asked(far, "h", add+"&"+sign("s3cret", "a", "x", now+60)), true},
		{"signed longer ago", asked(far, "h", add+"&"+sign("s3cret", "a", "x", now-61)), false},
		{"signed in the future", asked(far, "h", add+"&"+sign("s3cret", "a", "x", now+61)), false},
		{"signed with another secret", asked(far, "h", add+"&"+sign("other", "a", "x", now)), false},
		{"signed for another key", asked(far, "h", add+"&"+sign("s3cret", "b", "x", now)), false},
		{"signed for another token", asked(far, "h", add+"&"+sign("s3cret", "a", "y", now)), false},
		{"signed for another time", asked(far, "h", add+"&ts="+fmt.Sprint(now)+"&sig="+sign("s3cret", "a", "x", now-5)[len("ts=1764000000&sig="):]), false},
		{"signature alone", asked(far, "h", add+"&sig=00"), false},
		{"empty signature", asked(far, "h", add+"&sig="), false},
		{"cut signature", asked(far, "h", add+"&"+sign("s3cret", "a", "x", now)[:60]), false},
		{"bad signature from loopback", asked(here, "localhost:8090", add+"&"+sign("other", "a", "x", now)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := f.mayAddToken(newRequest(nil, tt.r, versioned))
			if (err == nil) != tt.want {
				t.Errorf("err = %v, want allowed = %t", err, tt.want)
			}
			if err != nil {
				no, ok := err.(*refusal)
				if !ok || no.status != http.StatusForbidden {
					t.Errorf("err = %#v, want a refusal with 403", err)
				} else if strings.Contains(no.text, "s3cret") {
					t.Errorf("the refusal tells the secret: %q", no.text)
				}
			}
		})
	}
}

// TestSignatureInCapitals: hex is hex.
func TestSignatureInCapitals(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	f.rules.Store(&rules{tokenSecret: []byte("s3cret")})
	signed := sign("s3cret", "a", "x", at.Unix())
	ts, sig, _ := strings.Cut(signed, "&sig=")
	r := asked("203.0.113.9:1", "h", "/1/token/add?k=a&t=x&"+ts+"&sig="+strings.ToUpper(sig))
	if err := f.mayAddToken(newRequest(nil, r, versioned)); err != nil {
		t.Error(err)
	}
}

// TestSignatureWithoutSecret: no secret is no key, not an empty one.
func TestSignatureWithoutSecret(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	r := asked("203.0.113.9:1", "h", "/1/token/add?k=a&t=x&"+sign("", "a", "x", at.Unix()))
	if err := f.mayAddToken(newRequest(nil, r, versioned)); err == nil {
		t.Error("a call signed with an empty secret was allowed")
	}
}

func TestGuardAdmin(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	open := &rules{}
	secret := &rules{adminSecret: []byte("s3cret"), adminAllow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	allow := &rules{adminAllow: secret.adminAllow}
	const url = "/1/admin/nodes"
	for _, tt := range []struct {
		name   string
		rules  *rules
		r      *http.Request
		status int // 0: allowed
	}{
		{"no secret, loopback", open, asked("127.0.0.1:1", "localhost:8091", url), 0},
		{"no secret, loopback IPv6", open, asked("[::1]:1", "[::1]:8091", url), 0},
		{"no secret, elsewhere", open, asked("10.1.2.3:1", "localhost:8091", url), 403},
		{"no secret, name that points here", open, asked("127.0.0.1:1", "evil.example:8091", url), 403},
		{"no secret, another site", open, asked("127.0.0.1:1", "localhost:8091", url, "Origin: https://evil.example"), 403},
		{"no secret, another site, no Origin", open, asked("127.0.0.1:1", "localhost:8091", url, "Sec-Fetch-Site: cross-site"), 403},
		{"no secret, own page", open, asked("127.0.0.1:1", "localhost:8091", url, "Origin: http://localhost:8091"), 0},

		{"secret", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer s3cret"), 0},
		{"secret, scheme in small letters", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: bearer s3cret"), 0},
		{"secret, own page by any name", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer s3cret", "Origin: http://web:8091"), 0},
		{"secret, another site", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer s3cret", "Origin: http://evil.example"), 403},
		{"wrong secret", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer s3creT"), 401},
		{"half the secret", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer s3c"), 401},
		{"no secret sent", secret, asked("203.0.113.9:1", "web:8091", url), 401},
		{"empty secret sent", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Bearer "), 401},
		{"secret by another scheme", secret, asked("203.0.113.9:1", "web:8091", url, "Authorization: Basic s3cret"), 401},
		{"secret set, loopback without", secret, asked("127.0.0.1:1", "localhost:8091", url), 401},
		{"secret set, allowed network", secret, asked("10.1.2.3:1", "web:8091", url), 0},
		{"secret set, allowed network, another site", secret, asked("10.1.2.3:1", "web:8091", url, "Sec-Fetch-Site: cross-site"), 403},

		// Through a proxy, which is most often on this machine.
		{"proxy, no secret, for a neighbour", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: 127.0.0.1"), 0},
		{"proxy, no secret, for a neighbour, IPv6", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Real-IP: ::1"), 0},
		{"proxy, no secret, for a neighbour by another name", open, asked("127.0.0.1:1", "push.example", url, "X-Forwarded-For: 127.0.0.1"), 403},
		{"proxy, no secret, for somebody elsewhere", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: 203.0.113.9"), 403},
		{"proxy, no secret, for somebody who says that he is near", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: 127.0.0.1, 203.0.113.9"), 403},
		{"proxy, no secret, the other header", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 203.0.113.9"), 403},
		{"proxy, no secret, in words we do not read", open, asked("127.0.0.1:1", "localhost:8001", url, "Forwarded: for=127.0.0.1"), 403},
		{"proxy, no secret, no address", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: unknown"), 403},
		{"proxy, no secret, an empty header", open, asked("127.0.0.1:1", "localhost:8001", url, "X-Forwarded-For: "), 403},
		{"proxy, allow only, allowed", allow, asked("127.0.0.1:1", "push.example", url, "X-Forwarded-For: 10.1.2.3"), 0},
		{"proxy, allow only, beside", allow, asked("127.0.0.1:1", "push.example", url, "X-Forwarded-For: 10.2.0.1"), 403},
		{"proxy in an allowed network, for somebody elsewhere", allow, asked("10.1.2.3:1", "web:8091", url, "X-Forwarded-For: 203.0.113.9"), 403},
		{"proxy elsewhere, for somebody allowed", allow, asked("203.0.113.9:1", "web:8091", url, "X-Forwarded-For: 10.1.2.3"), 403},
		{"proxy, secret", secret, asked("127.0.0.1:1", "push.example", url, "X-Forwarded-For: 203.0.113.9", "Authorization: Bearer s3cret"), 0},
		{"proxy in an allowed network, secret not sent", secret, asked("10.1.2.3:1", "web:8091", url, "X-Forwarded-For: 203.0.113.9"), 401},

		{"allow only, allowed", allow, asked("10.1.2.3:1", "web:8091", url), 0},
		{"allow only, beside", allow, asked("10.2.0.1:1", "web:8091", url), 403},
		{"allow only, beside, with some secret", allow, asked("10.2.0.1:1", "web:8091", url, "Authorization: Bearer x"), 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.rules.Store(tt.rules)
			err := f.guardAdmin(tt.r)
			status := 0
			if no, ok := err.(*refusal); ok {
				status = no.status
			} else if err != nil {
				t.Fatalf("err = %#v, want a refusal", err)
			}
			if status != tt.status {
				t.Errorf("status = %d (%v), want %d", status, err, tt.status)
			}
		})
	}
}

// TestRefused is what a refusal looks like on the wire, and that nothing is
// done behind it.
func TestRefused(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	f.rules.Store(&rules{adminSecret: []byte("s3cret")})
	public, admin := f.HTTPAddrs()[0], f.AdminAddrs()[0]
	for _, tt := range []struct {
		name, addr, request string
		status              int
		text, challenge     string
		closed              bool
	}{
		{"token through a proxy", public, "GET /1/token/add?k=a&t=x HTTP/1.1\r\nHost: localhost\r\nX-Real-IP: 1.2.3.4\r\n\r\n",
			403, "a forwarded request may not add tokens; sign the call (ts, sig) with the secret of token.secret_file, or use admin.bind\n", "", false},
		{"token by HTTP/1.0", public, "GET /1/token/add?k=a&t=x HTTP/1.0\r\nHost: localhost\r\n\r\n",
			403, "a forwarded request may not add tokens; sign the call (ts, sig) with the secret of token.secret_file, or use admin.bind\n", "", true},
		{"push without the secret", admin, post("/1/admin/push/private?key=a&expire=1", "1"),
			401, "send Authorization: Bearer and the secret of admin.secret_file\n", "Bearer", true},
		{"token on admin.bind without the secret", admin, get("/1/token/add?k=a&t=x"),
			401, "send Authorization: Bearer and the secret of admin.secret_file\n", "Bearer", false},
		{"push from a page", admin, post("/admin/push?key=a&expire=1", "1", "Origin: http://evil.example"),
			403, "a page of another site may not call this port\n", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body := exchange(t, tt.addr, tt.request)
			checkFrame(t, res, body, tt.status, "text/plain;charset=utf-8")
			if body != tt.text {
				t.Errorf("body = %q, want %q", body, tt.text)
			}
			if got := res.Header.Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("WWW-Authenticate = %q, want %q", got, tt.challenge)
			}
			if res.Close != tt.closed {
				t.Errorf("closed = %t, want %t", res.Close, tt.closed)
			}
		})
	}
	if f.comet().pushed() != 0 || len(f.comet().tokens) != 0 || len(f.messages.tokens) != 0 {
		t.Error("a refused request was carried out")
	}
	res, body := exchange(t, admin, post("/1/admin/push/private?key=a&expire=1", "1", "Authorization: Bearer s3cret"))
	if res.StatusCode != 200 || body != `{"ret":0}` {
		t.Errorf("with the secret: %d %s", res.StatusCode, body)
	}
}

// TestAuth: with auth on, both msg/get URLs want a live token of the key, and
// tell nothing apart.
func TestAuth(t *testing.T) {
	cfg := testConfig()
	cfg.Auth = true
	f := newFixture(t, cfg).run(t)
	f.messages.read = kept
	f.messages.check = func(args peer.TokenArgs) (peer.TokenReply, error) {
		switch {
		case args.Key == "down":
			return peer.TokenReply{}, peer.ErrFailed
		case args.Key == "kept" && args.Token == "good":
			return peer.TokenReply{State: peer.TokenLive}, nil
		case args.Key == "kept":
			return peer.TokenReply{State: peer.TokenOther}, nil
		}
		return peer.TokenReply{}, nil
	}
	for _, tt := range []struct {
		name, url string
		want      string
	}{
		{"live", "/1/msg/get?k=kept&m=13999084541846480&t=good", `{"ret":0}`},
		{"wrong", "/1/msg/get?k=kept&m=0&t=bad", `{"ret":65534}`},
		{"missing", "/1/msg/get?k=kept&m=0", `{"ret":65534}`},
		{"empty", "/1/msg/get?k=kept&m=0&t=", `{"ret":65534}`},
		{"too long", "/1/msg/get?k=kept&m=0&t=" + strings.Repeat("t", maxToken+1), `{"ret":65534}`},
		{"key without tokens", "/1/msg/get?k=other&m=0&t=good", `{"ret":65534}`},
		{"not known", "/1/msg/get?k=down&m=0&t=good", `{"ret":65535}`},
		{"old, live", "/msg/get?key=kept&mid=13999084541846480&t=good", `{"data":{"msgs":[],"pmsgs":[]},"msg":"ok","ret":0}`},
		{"old, missing", "/msg/get?key=kept&mid=0", `{"msg":"ok","ret":65534}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, body := exchange(t, f.HTTPAddrs()[0], get(tt.url)); body != tt.want {
				t.Errorf("got %s, want %s", body, tt.want)
			}
		})
	}
	if len(f.messages.reads) != 2 {
		t.Errorf("%d reads, want those of the 2 live tokens", len(f.messages.reads))
	}
}
