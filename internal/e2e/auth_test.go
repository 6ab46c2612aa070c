package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/rpc"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// secretFile writes a secret into a file of its own and returns both.
func secretFile(t *testing.T, name string) (path, secret string) {
	t.Helper()
	path, secret = filepath.Join(t.TempDir(), name), secretMark+"-"+name+"-0123456789abcdef"
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, secret
}

// TestAuth runs a cluster that trusts nobody: clients need tokens, back-ends
// and daemons secrets, browsers a known origin.
func TestAuth(t *testing.T) {
	t.Parallel()
	rpcFile, _ := secretFile(t, "rpc")
	adminFile, adminSecret := secretFile(t, "admin")
	tokenFile, tokenSecret := secretFile(t, "token")
	pepperFile, _ := secretFile(t, "pepper")
	c := prepare(t, options{
		nodes: []string{"node1", "node2"},
		comet: settings{
			"channel.auth": true, "rpc.secret_file": rpcFile,
			"websocket.origins": []string{"https://app.example.com"},
		},
		web: settings{
			"auth": true, "rpc.secret_file": rpcFile,
			"admin.secret_file": adminFile, "token.secret_file": tokenFile,
		},
		message: settings{"rpc.secret_file": rpcFile, "token.pepper_file": pepperFile},
	})
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	web := c.webs[0]

	add := func(t *testing.T, key, token, more string) {
		t.Helper()
		wantBody(t, get(t, web.web, "/1/token/add?k="+url.QueryEscape(key)+"&t="+url.QueryEscape(token)+more), `{"ret":0}`)
	}
	sub := func(t *testing.T, key, want string, args ...string) {
		t.Helper()
		cl := dialTCP(t, c.with(t).owner(key).tcp)
		cl.send(command(append([]string{"sub", key, "30"}, args...)...))
		cl.want(want)
		if want == "+h\r\n" {
			cl.beat()
		} else {
			cl.wantClosed(patience)
		}
		cl.close()
	}
	good, second := tokenMark+"-good", tokenMark+"-second"

	t.Run("subscribe", func(t *testing.T) {
		for _, key := range []string{"Terry-Mao", "somebody else"} {
			sub(t, key, "-c\r\n")
			sub(t, key, "-c\r\n", good)
			add(t, key, good, "")
			sub(t, key, "-a\r\n")
			sub(t, key, "-a\r\n", "")
			sub(t, key, "-a\r\n", "wrong")
			sub(t, key, "-a\r\n", "1.0.4") // the version that a client puts there
			sub(t, key, "+h\r\n", good)
			sub(t, key, "+h\r\n", good, "1.0")
			sub(t, key, "-a\r\n", second)
			add(t, key, second, "&e=3600")
			sub(t, key, "+h\r\n", good)
			sub(t, key, "+h\r\n", second)
		}
	})
	t.Run("token 0", func(t *testing.T) {
		add(t, "zero", "0", "")
		sub(t, "zero", "+h\r\n", "0")
	})
	t.Run("websocket", func(t *testing.T) {
		add(t, "ws", good, "")
		at := c.with(t).owner("ws").ws
		for token, want := range map[string]string{"": "-a\r\n", "wrong": "-a\r\n", good: "+h\r\n"} {
			cl := dialWS(t, at, "key=ws&heartbeat=30&token="+token, "Origin: https://app.example.com")
			cl.want(want)
			if want != "+h\r\n" {
				cl.wantClose()
			}
		}
		dialWS(t, at, "key=ws&heartbeat=30&token="+good).want("+h\r\n") // no origin: no browser
		for _, origin := range []string{"https://example.com", "http://app.example.com", "https://app.example.com.evil.example", "null"} {
			if _, res := upgrade(t, at, "key=ws&heartbeat=30&token="+good, "Origin: "+origin); res.StatusCode != http.StatusForbidden {
				t.Errorf("origin %s: %s, want 403", origin, res.Status)
			}
		}
	})
	t.Run("a token of two seconds", func(t *testing.T) {
		const key = "brief"
		add(t, key, good, "&e=2")
		testenv.Eventually(t, patience, func() error {
			reply, err := knock(c.with(t).owner(key).tcp, key)
			if err == nil && reply != "-c\r\n" {
				err = fmt.Errorf("still %q", reply)
			}
			return err
		})
		sub(t, key, "-c\r\n", good)
	})
	t.Run("fetch", func(t *testing.T) {
		add(t, "fetch", good, "")
		const target = "/1/msg/get?k=fetch&m=0"
		wantBody(t, get(t, web.web, target), `{"ret":65534}`)
		wantBody(t, get(t, web.web, target+"&t=wrong"), `{"ret":65534}`)
		wantBody(t, get(t, web.web, target+"&t="+good), `{"ret":0}`)
	})
	t.Run("after restarts", func(t *testing.T) {
		for _, d := range c.daemons() {
			if d.kind == "comet" {
				d.Kill()
			} else if code := d.Stop(); code != 0 {
				t.Errorf("%s: exit code %d", d.kind, code)
			}
		}
		for _, d := range c.daemons() {
			d.Launch()
		}
		c.with(t).ready()
		for _, key := range []string{"Terry-Mao", "somebody else"} {
			sub(t, key, "-a\r\n")
			sub(t, key, "+h\r\n", good)
			sub(t, key, "+h\r\n", second)
		}
	})
	t.Run("signed token", func(t *testing.T) {
		sign := func(ts time.Time, secret string) string {
			stamp := strconv.FormatInt(ts.Unix(), 10)
			mac := hmac.New(sha256.New, []byte(secret))
			fmt.Fprintf(mac, "signed\n%s\n%s", good, stamp)
			return "/1/token/add?k=signed&t=" + good + "&ts=" + stamp + "&sig=" + hex.EncodeToString(mac.Sum(nil))
		}
		now := time.Now()
		for _, tt := range []struct {
			name, target string
			status       int
		}{
			{"good", sign(now, tokenSecret), 200},
			{"wrong secret", sign(now, "x"+tokenSecret), 403},
			{"too old", sign(now.Add(-2*time.Minute), tokenSecret), 403},
			{"too new", sign(now.Add(2*time.Minute), tokenSecret), 403},
			{"for another token", sign(now, tokenSecret) + "&t=other", 200}, // the first t counts, and is the signed one
			{"unsigned", "/1/token/add?k=signed&t=" + good, 403},
		} {
			r := send(t, web.web, "GET", tt.target, "", "X-Forwarded-For: 192.0.2.1")
			if r.status != tt.status {
				t.Errorf("%s: status %d, want %d", tt.name, r.status, tt.status)
			}
		}
		sub(t, "signed", "+h\r\n", good)
	})
	t.Run("admin secret", func(t *testing.T) {
		const target = "/1/admin/push/private?key=fetch&expire=600"
		for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Bearer "}, {"Authorization: Basic " + adminSecret}} {
			r := send(t, web.admin, "POST", target, `1`, headers...)
			if r.status != http.StatusUnauthorized && r.status != http.StatusForbidden {
				t.Errorf("%q: status %d, want 401 or 403", headers, r.status)
			}
		}
		wantBody(t, send(t, web.admin, "POST", target, `"`+payloadMark+`"`, "Authorization: Bearer "+adminSecret), `{"ret":0}`)
		if r := get(t, web.admin, "/1/token/add?k=a&t=b"); r.status == http.StatusOK {
			t.Errorf("token/add on admin.bind without the secret: %q", r.body)
		}
	})
	t.Run("rpc secret", func(t *testing.T) {
		for _, d := range []*daemon{c.comets[0], c.messages[0]} {
			client, err := rpc.Dial("tcp", d.rpc)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			method := map[string]string{"comet": "CometRPC.Ping", "message": "MessageRPC.Ping"}[d.kind]
			done := client.Go(method, 0, new(int), make(chan *rpc.Call, 1)).Done
			select {
			case call := <-done:
				if call.Error == nil {
					t.Errorf("%s answered somebody without the secret", d.kind)
				}
			case <-time.After(patience):
				t.Errorf("%s keeps somebody without the secret waiting", d.kind)
			}
		}
	})
}
