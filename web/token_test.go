package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// TestTokenAdd: the owner stores the token; where it is out of reach, web does.
func TestTokenAdd(t *testing.T) {
	const ms = time.Millisecond
	fail := func(err error) func(context.Context, peer.NewArgs) error {
		return func(context.Context, peer.NewArgs) error { return err }
	}
	for _, tt := range []struct {
		name   string
		query  string // beside k and t
		comet  func(ctx context.Context, args peer.NewArgs) error
		store  error
		want   int
		calls  int
		direct bool
		expire int64
		took   time.Duration
	}{
		{name: "owner stores it", want: retOK, calls: 1},
		{name: "with a life", query: "&e=60", want: retOK, calls: 1, expire: 60},
		{name: "owner out of reach", query: "&e=60", comet: fail(rpcnet.ErrNotSent), want: retOK, calls: 1, direct: true, expire: 60},
		{name: "owner's answer lost", comet: fail(rpcnet.ErrLost), want: retOK, calls: 1, direct: true},
		{name: "owner silent", comet: func(ctx context.Context, _ peer.NewArgs) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", rpcnet.ErrLost, ctx.Err())
		}, want: retOK, calls: 1, direct: true, took: 975 * ms},
		{name: "nobody's key", comet: fail(peer.ErrNotMine), want: retOK, calls: 3, direct: true, took: 200 * ms},
		{name: "owner could not store it", comet: fail(peer.ErrFailed), want: retInternal, calls: 1},
		{name: "owner refuses it", comet: fail(peer.ErrInvalid), want: retParam, calls: 1},
		{name: "neither", comet: fail(rpcnet.ErrNotSent), store: peer.ErrFailed, want: retInternal, calls: 1, direct: true},
		{name: "store refuses it", comet: fail(rpcnet.ErrNotSent), store: peer.ErrInvalid, want: retParam, calls: 1, direct: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig())
			f.close()
			synctest.Test(t, func(t *testing.T) {
				f.comet().add = tt.comet
				f.messages.add = func(peer.TokenArgs) error { return tt.store }
				r := asked("127.0.0.1:1", "localhost", "/1/token/add?k=a&t="+url.QueryEscape("s p/a+ce")+tt.query).WithContext(t.Context())
				began := time.Now()
				_, err := f.tokenAdd(newRequest(nil, r, versioned))
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if got := ret(err); got != tt.want {
					t.Errorf("ret = %d (%v), want %d", got, err, tt.want)
				}
				if n := len(f.comet().tokens); n != tt.calls {
					t.Errorf("%d calls to the comet, want %d", n, tt.calls)
				}
				for _, a := range f.comet().tokens {
					if a.Budget == 0 || a.Budget > 900 {
						t.Errorf("budget = %d ms, want 1..900", a.Budget)
					}
					a.Budget = 0
					if want := (peer.NewArgs{Key: "a", Token: "s p/a+ce", Expire: tt.expire}); a != want {
						t.Errorf("CometRPC.New %+v, want %+v", a, want)
					}
				}
				var direct []peer.TokenArgs
				if tt.direct {
					direct = []peer.TokenArgs{{Key: "a", Token: "s p/a+ce", Expire: tt.expire}}
				}
				if diff := cmp.Diff(direct, f.messages.tokens); diff != "" {
					t.Errorf("stored by web (-want +got):\n%s", diff)
				}
				if err != nil && errors.Is(err, errUnreachable) {
					t.Errorf("err = %v: this is no answer", err)
				}
			})
		})
	}
}
