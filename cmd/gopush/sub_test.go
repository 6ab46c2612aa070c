package main

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func body(n int) string { return fmt.Sprintf(`{"msg":{"n":%d},"mid":%d,"gid":0}`, n, n*80) }

// stored is the answer of /1/msg/get with these messages.
func stored(ns ...int) string {
	var bodies []string
	for _, n := range ns {
		bodies = append(bodies, body(n))
	}
	return `{"data":{"msgs":[` + strings.Join(bodies, ",") + `]},"ret":0}`
}

func lastFetch(w *fakeWeb) string {
	asked := w.requests()
	return asked[strings.LastIndex(asked, "\n")+1:]
}

func TestSub(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", []string{body(2), body(3)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at(), "/1/msg/get": stored(1, 2)})
	state := t.TempDir()

	// What was missed comes first, and what comes both ways is printed once.
	got := gopushState(t, w, state, "", "sub", "alice", "-n", "3")
	want := result{0, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", fmt.Sprintf("gopush: alice is subscribed at %s; Ctrl-C ends\n", comet.Addr())}
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(result{})); diff != "" {
		t.Fatalf("first run (-want +got):\n%s", diff)
	}
	if want := "GET /1/msg/get?k=alice&m=0"; lastFetch(w) != want {
		t.Fatalf("first run fetched %q, want %q", lastFetch(w), want)
	}

	// The second run begins where the first ended.
	w.answer("/1/msg/get", stored(4, 5))
	got = gopushState(t, w, state, "", "sub", "alice", "-n", "2", "-o", "json")
	if want := body(4) + "\n" + body(5) + "\n"; got.code != 0 || got.out != want {
		t.Fatalf("second run = %d %q, want %q", got.code, got.out, want)
	}
	if want := "GET /1/msg/get?k=alice&m=240"; lastFetch(w) != want {
		t.Fatalf("second run fetched %q, want %q", lastFetch(w), want)
	}

	// --mid begins elsewhere and does not make it forget.
	w.answer("/1/msg/get", stored(2))
	gopushState(t, w, state, "", "sub", "alice", "-n", "1", "--mid", "80")
	if want := "GET /1/msg/get?k=alice&m=80"; lastFetch(w) != want {
		t.Fatalf("--mid 80 fetched %q, want %q", lastFetch(w), want)
	}
	w.answer("/1/msg/get", stored(6))
	gopushState(t, w, state, "", "sub", "alice", "-n", "1", "--no-state")
	if want := "GET /1/msg/get?k=alice&m=0"; lastFetch(w) != want {
		t.Fatalf("--no-state fetched %q, want %q", lastFetch(w), want)
	}
	gopushState(t, w, state, "", "sub", "alice", "-n", "1")
	if want := "GET /1/msg/get?k=alice&m=400"; lastFetch(w) != want {
		t.Fatalf("the run after fetched %q, want %q: neither of the two was to be remembered", lastFetch(w), want)
	}
}

func TestSubComesBack(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", nil, []string{body(2)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at(), "/1/msg/get": stored(1)})
	got := gopush(t, w, "", "sub", "alice", "-n", "2")
	if want := "{\"n\":1}\n{\"n\":2}\n"; got.code != 0 || got.out != want {
		t.Fatalf("sub = %d %q, want %q", got.code, got.out, want)
	}
	if !strings.Contains(got.errOut, "connection lost, coming back: ") || strings.Count(got.errOut, "is subscribed at") != 2 {
		t.Fatalf("the terminal shows %q, want that the connection was lost and made again", got.errOut)
	}
}

// A comet that stops sends its clients away with -n, as if the key had moved.
func TestSubSentElsewhere(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", []string{"-n"}, []string{body(1)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at(), "/1/msg/get": stored()})
	got := gopush(t, w, "", "sub", "alice", "-n", "1")
	if got.code != 0 || !strings.Contains(got.errOut, "gopush: sent elsewhere: asking web again\n") {
		t.Fatalf("sub = %d %q, want that it was sent elsewhere", got.code, got.errOut)
	}
}

func TestSubRefused(t *testing.T) {
	tests := []struct {
		name, reply, server, msgs string
		token                     string
		patience                  string // --timeout; "": longer than any answer takes
		want                      string
	}{
		{name: "another token", reply: "-a\r\n", want: "alice has another token\nGive it with --token"},
		{name: "no token", reply: "-c\r\n", want: "no live token, or too many connections\nAdd a token: gopush token add alice TOKEN"},
		{name: "web wants a token", reply: "+h\r\n", msgs: `{"ret":65534}`, want: "Where auth is on, the key's token is needed"},
		{name: "no comet", server: `{"ret":1001}`, patience: "300ms", want: "alice could not be subscribed within 300ms\nSee who is registered: gopush nodes"},
		{name: "never its comet", reply: "-n\r\n", patience: "300ms", want: "alice could not be subscribed within 300ms"},
		{name: "a web that is none", server: "hello", want: "client: the server breaks the protocol"},
		{name: "the internal port", server: "404", want: "answers HTTP status 404\nNothing of this name is there. Is --web the address of http.bind"},
		{name: "a wrong token", reply: "+h\r\n", msgs: `{"ret":65534}`, token: "X", want: "The token is none of alice's, or is over. Add it: gopush token add alice TOKEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			comet := newFakeComet(t, tt.reply)
			w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at(), "/1/msg/get": ok})
			if tt.server != "" {
				w.answer("/1/server/get", tt.server)
			}
			if tt.msgs != "" {
				w.answer("/1/msg/get", tt.msgs)
			}
			got := gopush(t, w, "", "sub", "alice", "--token", tt.token, "--timeout", cmp.Or(tt.patience, "1m"))
			if got.code != 1 || got.out != "" || !strings.Contains(got.errOut, tt.want) {
				t.Fatalf("sub = %d %q %q, want 1 and %q", got.code, got.out, got.errOut, tt.want)
			}
		})
	}
}

func TestSubWrongUse(t *testing.T) {
	w := newFakeWeb(t, nil)
	for _, args := range []string{"sub", "sub a b", "sub a --mid -1", "sub a -n -1"} {
		if got := gopush(t, w, "", strings.Fields(args)...); got.code != 2 {
			t.Errorf("gopush %s = %d %q, want 2", args, got.code, got.errOut)
		}
	}
	if asked := w.requests(); asked != "" {
		t.Errorf("web was asked %q, want nothing", asked)
	}
}
