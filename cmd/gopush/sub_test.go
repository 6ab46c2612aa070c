package main

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func body(n int) string { return fmt.Sprintf(`{"msg":{"n":%d},"mid":%d,"gid":0}`, n, n*80) }

func TestSub(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", []string{body(1), body(2), body(2), body(3)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at()})
	state := t.TempDir()

	// The first time it asks for all there is. What comes twice is printed once.
	got := gopushState(t, w, state, "", "sub", "alice", "-n", "3")
	want := result{0, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", fmt.Sprintf("gopush: alice is subscribed at %s; Ctrl-C ends\n", comet.Addr())}
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(result{})); diff != "" {
		t.Fatalf("first run (-want +got):\n%s", diff)
	}
	if mid := comet.last(body(4), body(5)); mid != "0" {
		t.Fatalf("first run resumed after %s, want 0", mid)
	}

	// The second run begins where the first ended.
	got = gopushState(t, w, state, "", "sub", "alice", "-n", "2", "-o", "json")
	if want := body(4) + "\n" + body(5) + "\n"; got.code != 0 || got.out != want {
		t.Fatalf("second run = %d %q, want %q", got.code, got.out, want)
	}
	if mid := comet.last(body(2)); mid != "240" {
		t.Fatalf("second run resumed after %s, want 240", mid)
	}

	// --mid begins elsewhere and does not make it forget.
	gopushState(t, w, state, "", "sub", "alice", "-n", "1", "--mid", "80")
	if mid := comet.last(body(6)); mid != "80" {
		t.Fatalf("--mid 80 resumed after %s", mid)
	}
	gopushState(t, w, state, "", "sub", "alice", "-n", "1", "--no-state")
	if mid := comet.last(body(6)); mid != "0" {
		t.Fatalf("--no-state resumed after %s, want 0", mid)
	}
	gopushState(t, w, state, "", "sub", "alice", "-n", "1")
	if mid := comet.last(); mid != "400" {
		t.Fatalf("the run after resumed after %s, want 400: neither of the two was to be remembered", mid)
	}
}

// It says where messages are gone, and goes on.
func TestSubGap(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", []string{`{"gap":{"from":80,"oldest":400},"gid":0}`, body(5), `{"gap":{"from":400,"oldest":0},"gid":0}`, body(9)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at()})
	got := gopush(t, w, "", "sub", "alice", "-n", "2", "--mid", "80")
	if got.code != 0 || got.out != "{\"n\":5}\n{\"n\":9}\n" ||
		!strings.Contains(got.errOut, "gopush: messages between 80 and 400 are not kept any more") ||
		!strings.Contains(got.errOut, "gopush: messages after 400 are not kept any more") {
		t.Fatalf("sub = %+v", got)
	}
}

func TestSubComesBack(t *testing.T) {
	comet := newFakeComet(t, "+h\r\n", []string{body(1)}, []string{body(2)})
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at()})
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
	w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at()})
	got := gopush(t, w, "", "sub", "alice", "-n", "1")
	if got.code != 0 || !strings.Contains(got.errOut, "gopush: sent elsewhere: asking web again\n") {
		t.Fatalf("sub = %d %q, want that it was sent elsewhere", got.code, got.errOut)
	}
}

func TestSubRefused(t *testing.T) {
	tests := []struct {
		name, reply, server string
		patience            string // --timeout; "": longer than any answer takes
		want                string
	}{
		{name: "another token", reply: "-a\r\n", want: "alice has another token\nGive it with --token"},
		{name: "no token", reply: "-c\r\n", want: "no live token, or too many connections\nAdd a token: gopush token add alice TOKEN"},
		{name: "no comet", server: `{"ret":1001}`, patience: "300ms", want: "alice could not be subscribed within 300ms\nSee who is registered: gopush nodes"},
		{name: "never its comet", reply: "-n\r\n", patience: "300ms", want: "alice could not be subscribed within 300ms"},
		{name: "a web that is none", server: "hello", want: "client: the server breaks the protocol"},
		{name: "the internal port", server: "404", want: "answers HTTP status 404\nNothing of this name is there. Is --web the address of http.bind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			comet := newFakeComet(t, tt.reply)
			w := newFakeWeb(t, map[string]string{"/1/server/get": comet.at()})
			if tt.server != "" {
				w.answer("/1/server/get", tt.server)
			}
			got := gopush(t, w, "", "sub", "alice", "--timeout", cmp.Or(tt.patience, "1m"))
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
