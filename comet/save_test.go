package comet

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
)

func TestSaveThatFailsDeliversNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.msgs.set(nil, func(op string) error { return errDown }) // stored, but the answer is lost
		if res := r.push("k", "1", true); res.Code != peer.Failed {
			t.Errorf("code %d, want Failed", res.Code)
		}
		r.msgs.set(nil, nil)
		wantBodies(t, sock)
		r.mustPush("k", "2", true)
		synctest.Wait()
		wantBodies(t, sock, "1", "2") // a later fill shows it, once, in its place
		_, bad := r.live("bad")
		if res := r.push("bad", "1", true); res.Code != peer.Failed {
			t.Errorf("refused by the store: code %d, want Failed", res.Code)
		}
		wantBodies(t, bad)
	})
}

func TestRetriedPushIsDeliveredOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		first := r.msgs.direct("k", "1", "n")
		r.mustPush("k", "2", true)
		p := peer.Push{Keys: []string{"k"}, Msg: json.RawMessage("1"), ExpireAt: 1 << 40, Nonce: "n", Retry: true}
		for range 2 {
			res := r.Server.push(t.Context(), []peer.Push{p})[0]
			if res.Code != peer.OK || res.Mid != first.Mid {
				t.Errorf("retry = %+v, want mid %d", res, first.Mid)
			}
		}
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
	})
}

// The pushes that wait for a save go together, but not more than a run holds.
func TestRunsAreBounded(t *testing.T) {
	big := `"` + strings.Repeat("x", runBytes*2/3) + `"`
	for _, tt := range []struct {
		name  string
		body  string
		items int
		want  []int // items of each save; the first goes alone
	}{
		{"pushes", "1", 1 + runPushes + 10, []int{1, runPushes, 10}},
		{"bytes", big, 3, []int{1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.msgs.set(hookOn("save", func() error { time.Sleep(100 * time.Millisecond); return nil }), nil)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				var pushes []peer.Push
				for range tt.items {
					pushes = append(pushes, r.item(tt.body, true, "k"))
				}
				for i, res := range r.Server.push(ctx, pushes) {
					if res.Code != peer.OK {
						t.Errorf("push %d: code %d", i, res.Code)
					}
				}
				var got []int
				for _, keys := range r.msgs.saves {
					got = append(got, len(keys))
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("saves of %v items, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestRunLastsAsLongAsItsMostPatientCaller(t *testing.T) {
	for name, patience := range map[string][]time.Duration{
		"first": {1900 * time.Millisecond, 300 * time.Millisecond},
		"last":  {300 * time.Millisecond, 1900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.msgs.set(hookOn("save", func() error { time.Sleep(500 * time.Millisecond); return nil }), nil)
				var wg sync.WaitGroup
				wg.Go(func() { r.mustPush("k", "0", true) })
				synctest.Wait()
				time.Sleep(400 * time.Millisecond)
				for _, d := range patience {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(context.Background(), d)
						defer cancel()
						want := peer.OK
						if d < time.Second {
							want = peer.Failed
						}
						if res := r.Server.push(ctx, []peer.Push{r.item("1", true, "k")})[0]; res.Code != want {
							t.Errorf("a caller with %v: code %d, want %d", d, res.Code, want)
						}
					})
					synctest.Wait()
				}
				wg.Wait()
			})
		})
	}
}

func TestPushesOfOneMessageShareItsBytes(t *testing.T) {
	a, b := &payload{msg: []byte("1")}, &payload{msg: []byte("1")}
	args := saveArgs([]*run{
		{key: "k1", pushes: []*push{{payload: a, nonce: "n1"}}},
		{key: "k2", pushes: []*push{{payload: a, nonce: "n1"}, {payload: b, nonce: "n2"}}},
	})
	if len(args.Bodies) != 2 || args.Items[1].Body != args.Items[0].Body || args.Items[2].Body == args.Items[0].Body {
		t.Errorf("%d bodies, items %+v", len(args.Bodies), args.Items)
	}
}
