package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what web was sent.
type seen struct{ Line, Body, Secret, ID string }

// fakeWeb answers every request with status and text, and notes it.
func fakeWeb(t *testing.T, status int, text string) (*Client, *seen) {
	t.Helper()
	var s seen
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s = seen{r.Method + " " + r.RequestURI, string(body), r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key")}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	c, err := New(Options{Web: web.URL, Admin: web.URL + "/", Secret: []byte("s3cret")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); web.Close() })
	return c, &s
}

// TestCalls is what each method sends, and what it makes of the answer.
func TestCalls(t *testing.T) {
	const secret = "Bearer s3cret"
	for _, tt := range []struct {
		name   string
		answer string
		call   func(context.Context, *Client) (any, error)
		sent   seen
		want   any
	}{
		{"push", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.PushPrivate(ctx, "a b", json.RawMessage(`{"x":1}`), time.Minute)
		}, seen{"POST /1/admin/push/private?expire=60&key=a+b", `{"x":1}`, secret, ""}, nil},
		{"push with an id", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.PushPrivate(ctx, "a", json.RawMessage(`1`), 0, ID("order 7"))
		}, seen{"POST /1/admin/push/private?expire=0&key=a", `1`, secret, "order 7"}, nil},
		{"push to many", `{"data":{"fk":["b"]},"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return c.PushPrivates(ctx, []string{"a", "b"}, json.RawMessage(`{"x":"é"}`), time.Hour, ID("i"))
		}, seen{"POST /1/admin/push/mprivate?expire=3600", `{"k":"a,b","m":"{\"x\":\"é\"}"}`, secret, "i"}, []string{"b"}},
		{"push to many, none failed", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return c.PushPrivates(ctx, []string{"a"}, json.RawMessage(`1`), time.Hour)
		}, seen{"POST /1/admin/push/mprivate?expire=3600", `{"k":"a","m":"1"}`, secret, ""}, []string(nil)},
		{"delete", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.DelMessages(ctx, "a&b")
		}, seen{"POST /1/admin/msg/del?key=a%26b", "", secret, ""}, nil},
		{"token", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.TokenAdd(ctx, "a", "t", 0)
		}, seen{"GET /1/token/add?k=a&t=t", "", secret, ""}, nil},
		{"token with a life", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.TokenAdd(ctx, "a", "t", time.Hour)
		}, seen{"GET /1/token/add?e=3600&k=a&t=t", "", secret, ""}, nil},
		{"messages", `{"data":{"msgs":[{"msg":{"x":1},"mid":13999084541846400,"gid":0}]},"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return c.Messages(ctx, "a", 7, "t")
		}, seen{"GET /1/msg/get?k=a&m=7&t=t", "", "", ""}, []Message{{Msg: json.RawMessage(`{"x":1}`), Mid: 13999084541846400}}},
		{"no messages", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return c.Messages(ctx, "a", 0, "")
		}, seen{"GET /1/msg/get?k=a&m=0", "", "", ""}, []Message(nil)},
		{"weight", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.SetWeight(ctx, "a&b", 7)
		}, seen{"POST /1/admin/node/weight?node=a%26b&weight=7", "", secret, ""}, nil},
		{"drain", `{"ret":0}`, func(ctx context.Context, c *Client) (any, error) {
			return nil, c.Drain(ctx, "a&b")
		}, seen{"POST /1/admin/node/drain?node=a%26b", "", secret, ""}, nil},
		{"nodes", `{"data":{"nodes":[{"name":"node1","weight":1,"share":0.5,"active":"0000000001","standbys":1,"rpc":["h:1"],"tcp":["h:2"],"ws":null,"alive":true,"seen":"2026-01-02T03:04:05Z"}]},"ret":0}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Nodes(ctx) },
			seen{"GET /1/admin/nodes?", "", secret, ""},
			[]Node{{Name: "node1", Weight: 1, Share: 0.5, Active: "0000000001", Standbys: 1, RPC: []string{"h:1"}, TCP: []string{"h:2"},
				Alive: true, Seen: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := fakeWeb(t, http.StatusOK, tt.answer)
			got, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.sent, *s); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrors: each answer that is not "done" is told apart, and none of them
// shows the token.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		text   string
		want   error // nil: none of the sentinels
		says   string
	}{
		{"no comet", 200, `{"ret":1001}`, ErrNoComet, "ret 1001"},
		{"parameter", 200, `{"ret":65534}`, ErrParam, "ret 65534"},
		{"internal", 200, `{"ret":65535}`, ErrInternal, "ret 65535"},
		{"unknown code", 200, `{"ret":7}`, ErrInternal, "ret 7"},
		{"no secret", 401, "send the secret\n", ErrAccess, "send the secret"},
		{"not from here", 403, "use admin.bind\nmore", ErrAccess, "use admin.bind"},
		{"not found", 404, "no such URL\n", ErrInternal, "status 404"},
		{"proxy without a web", 502, strings.Repeat("<html>", 1000), ErrInternal, "status 502"},
		{"redirect", 302, "", ErrInternal, "status 302"},
		{"no JSON", 200, "<html>", nil, "no answer of web's"},
		{"no ret", 200, `{}`, nil, "no answer of web's"},
		{"data of another kind", 200, `{"data":[],"ret":0}`, nil, "data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := fakeWeb(t, tt.status, tt.text)
			_, err := c.Messages(t.Context(), "a", 0, "t0ken")
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("err = %v, want %v", err, tt.want)
			}
			var e *Error
			if errors.As(err, &e) != (tt.want != nil) || e != nil && e.Status != tt.status {
				t.Errorf("err = %#v", err)
			}
			if text := err.Error(); !strings.Contains(text, tt.says) || !strings.Contains(text, "/1/msg/get") || strings.Contains(text, "t0ken") || len(text) > 400 {
				t.Errorf("err = %q, want it to say %q, briefly and without the token", text, tt.says)
			}
			if !strings.HasPrefix(s.Line, "GET /1/msg/get?") {
				t.Errorf("sent %q", s.Line)
			}
		})
	}
}

// TestUnreachable: the error of a dial names the path and not the query.
func TestUnreachable(t *testing.T) {
	c, _ := fakeWeb(t, 200, "")
	web := c.web
	c.web = "http://127.0.0.1:1"
	_, err := c.Messages(t.Context(), "a", 0, "t0ken")
	if err == nil || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "/1/msg/get") {
		t.Errorf("err = %v", err)
	}
	c.web = web
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Messages(ctx, "a", 0, "t0ken"); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("err = %v, want Canceled", err)
	}
}

// TestRefusedHere: what cannot be sent as it is meant is not sent.
func TestRefusedHere(t *testing.T) {
	c, s := fakeWeb(t, 200, `{"ret":0}`)
	one := json.RawMessage("1")
	many := func(key string) error {
		_, err := c.PushPrivates(t.Context(), []string{"a", key}, one, 0)
		return err
	}
	_, notUTF8 := c.PushPrivates(t.Context(), []string{"a"}, json.RawMessage("\"\xff\""), 0)
	for name, err := range map[string]error{
		"half a second":      c.PushPrivate(t.Context(), "a", one, time.Second/2),
		"negative":           c.PushPrivate(t.Context(), "a", one, -time.Second),
		"token for a moment": c.TokenAdd(t.Context(), "a", "t", time.Millisecond),
		"key with a comma":   many("b,c"),
		"empty key":          many(""),
		"key with space":     many(" b"),
		"key is not UTF-8":   many("\xff"),
		"message not UTF-8":  notUTF8,
	} {
		if err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	if s.Line != "" {
		t.Errorf("web was asked: %s", s.Line)
	}
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"localhost:8091", "ftp://h", "http://", "http://u:p@h", "http://h?x", "http://h/#x", ":"} {
		if _, err := New(Options{Admin: bad}); err == nil {
			t.Errorf("New(%q): no error", bad)
		}
	}
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DelMessages(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "Options.Admin") {
		t.Errorf("err = %v, want one that names Options.Admin", err)
	}
	if _, err := c.Messages(t.Context(), "a", 0, ""); err == nil || !strings.Contains(err.Error(), "Options.Web") {
		t.Errorf("err = %v, want one that names Options.Web", err)
	}
}

// TestErrorSaysWhy: what web says of a code, on its internal port, is shown.
func TestErrorSaysWhy(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Gopush-Error", "node: want a name")
		io.WriteString(w, `{"ret":65534}`)
	}))
	defer web.Close()
	c, err := New(Options{Web: web.URL, Admin: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const want = "client: /1/admin/nodes: ret 65534: a parameter is missing or wrong: node: want a name"
	if _, err = c.Nodes(t.Context()); !errors.Is(err, ErrParam) || err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
}
