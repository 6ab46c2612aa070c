package comet

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
)

// oneToken is a store with one token, which ends at expires.
type oneToken struct {
	*fakeMessages
	expires time.Time
	silent  bool // about when the token ends
	asked   int
}

func (o *oneToken) TokenCheck(context.Context, peer.TokenArgs) (peer.TokenReply, error) {
	o.asked++
	switch {
	case !time.Now().Before(o.expires):
		return peer.TokenReply{}, nil
	case o.silent:
		return peer.TokenReply{State: peer.TokenLive}, nil
	}
	return peer.TokenReply{State: peer.TokenLive, Expires: o.expires.Unix()}, nil
}

// TestTokenEnds: a token that was good is remembered, but not beyond its end.
func TestTokenEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		life   time.Duration
		silent bool
		asked  int // while it lives: now, after 2 s, and twice 2 s before its end
	}{
		{"shorter than the memory", 6 * time.Second, false, 1},
		{"longer than the memory", 10 * time.Minute, false, 2},
		{"the store does not say when", 6 * time.Second, true, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &oneToken{expires: time.Now().Add(tt.life), silent: tt.silent}
				tokens := newTokens(store)
				check := func(want error) {
					t.Helper()
					if err := tokens.check(t.Context(), "k", "T"); !errors.Is(err, want) {
						t.Errorf("%v before its end: %v, want %v", time.Until(store.expires), err, want)
					}
				}
				check(nil)
				time.Sleep(2 * time.Second)
				check(nil)
				time.Sleep(tt.life - 4*time.Second)
				check(nil)
				check(nil)
				if store.asked != tt.asked {
					t.Errorf("the store was asked %d times, want %d", store.asked, tt.asked)
				}
				time.Sleep(2 * time.Second)
				check(ErrNoToken)
			})
		})
	}
}

func TestAuth(t *testing.T) {
	r := start(t, func(c *Config) { c.Channel.Auth = true })
	try := func(key, token, want string) {
		t.Helper()
		conn := r.dial()
		io.WriteString(conn, sub(key, "30", token, "1.0"))
		expect(t, conn, want)
	}
	try("k", "secret", "-c\r\n")
	var ret int
	if err := r.rpc().Call("CometRPC.New", peer.NewArgs{Key: "k", Token: "secret"}, &ret); err != nil {
		t.Fatal(err)
	}
	try("k", "wrong", "-a\r\n")
	try("k", "", "-a\r\n")
	try("k", "secret", "+h\r\n")
	r.msgs.set(func(op string) error { return errDown }, nil)
	try("k", "secret", "+h\r\n") // remembered
	conn := r.dial()
	io.WriteString(conn, sub("other", "30", "secret", "1.0"))
	expectEnd(t, conn) // the store does not answer: closed without a reply
}
