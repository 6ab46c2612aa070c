package comet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/wire"
)

// hookOn returns a hook that runs f for calls named op.
func hookOn(op string, f func() error) func(string) error {
	return func(got string) error {
		if got != op {
			return nil
		}
		return f()
	}
}

// tell tells the comet of a message that was stored without it.
func (r *rig) tell(key string, m int64) {
	r.t.Helper()
	if err := (&Service{r.Server}).Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: key, Mid: m}}}, &peer.SyncReply{}); err != nil {
		r.t.Fatal(err)
	}
}

func TestTooManyPushesOfAKeyFailAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.msgs.set(hookOn("save", func() error { <-gate; return nil }), nil)
		keys := slices.Repeat([]string{"k"}, pushesWaiting+3)
		results := make(chan []peer.PushResult, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var pushes []peer.Push
			for _, k := range keys {
				pushes = append(pushes, r.item("1", true, k))
			}
			results <- r.Server.push(ctx, pushes)
		}()
		synctest.Wait()
		close(gate)
		failed := 0
		for i, res := range <-results {
			if res.Code != peer.OK {
				failed++
				if i < pushesWaiting {
					t.Errorf("push %d: code %d", i, res.Code)
				}
			}
		}
		if failed != 3 {
			t.Errorf("%d pushes failed, want 3", failed)
		}
	})
}

func TestMessageWithoutExpiryFollowsAFillThatIsStillToCome(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		gate := make(chan struct{})
		r.msgs.set(hookOn("read", func() error { <-gate; return nil }), nil)
		first := r.msgs.direct("k", "1", "web1").Mid
		r.tell("k", first) // begins a fill up to it
		synctest.Wait()
		r.tell("k", r.msgs.direct("k", "2", "web2").Mid)
		r.mustPush("k", "3", false)
		close(gate)
		synctest.Wait()
		if sess.ended() {
			t.Errorf("session ended: %v", sess.reason())
		}
		wantBodies(t, sock, "1", "2", "3")
	})
}

func TestForeignMidThatIsToldRaisesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		far := mid.Of(time.Now()) + 2*3600*mid.Second
		r.tell("k", far)
		synctest.Wait()
		for i, stored := range []bool{false, true} {
			if m := r.mustPush("k", fmt.Sprint(i), stored); m >= far {
				t.Errorf("mid %d follows one that is far ahead", m)
			}
		}
		wantBodies(t, sock, "0", "1")
		if n := r.stats.fills.Load(); n != 0 {
			t.Errorf("%d fills for a message that is never sent", n)
		}
	})
}

func TestFirstMidWithoutAnyStoredLiesBelowTheClock(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.live("k")
		m, clock := r.mustPush("k", "1", false), mid.Of(time.Now())
		if want := mid.After(clock - baseAge - 2*mid.Second); m < want || m > clock-baseAge+mid.Step {
			t.Errorf("mid %d is %v below the clock, want %v", m, time.Duration(clock-m)*100, 2*time.Minute)
		}
	})
}

// What was stored long before a client came is never replayed to it: it fetches.
func TestOldMessagesAreNotReplayed(t *testing.T) {
	before := func(t *testing.T, r *rig) {
		r.msgs.direct("k", `"old"`, "web0")
		time.Sleep(5 * time.Minute)
	}
	t.Run("held ones did not fit", func(t *testing.T) {
		bubble(t, func(c *Config) { c.Channel.MsgBuf = 2 }, func(t *testing.T, r *rig) {
			before(t, r)
			_, sock := r.join("k", nil)
			for i := range 4 {
				r.mustPush("k", fmt.Sprint(i), true)
			}
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "0", "1", "2", "3")
		})
	})
	t.Run("held ones did not fit, and the channel was there", func(t *testing.T) {
		bubble(t, func(c *Config) { c.Channel.MsgBuf = 2 }, func(t *testing.T, r *rig) {
			before(t, r)
			r.live("k")
			_, sock := r.join("k", nil)
			for i := range 4 {
				r.mustPush("k", fmt.Sprint(i), true)
			}
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "0", "1", "2", "3")
		})
	})
	t.Run("told before the base was known", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, r *rig) {
			before(t, r)
			gate := make(chan struct{})
			r.msgs.set(hookOn("read", func() error { <-gate; return nil }), nil)
			_, sock := r.join("k", nil)
			r.tell("k", r.msgs.direct("k", "1", "web1").Mid)
			close(gate)
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "1")
		})
	})
	t.Run("channel outlived its sessions", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, r *rig) {
			before(t, r)
			step := make(chan struct{})
			r.msgs.set(hookOn("save", func() error { <-step; return nil }), nil)
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() { r.mustPush("k", fmt.Sprint(i), true) })
				synctest.Wait()
			}
			step <- struct{}{} // the first is stored, with nobody there
			synctest.Wait()
			_, sock := r.join("k", nil)
			step <- struct{}{}
			wg.Wait()
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "1")
		})
	})
}

func TestAnswerOfASaveThatAFillHasOvertakenChangesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		gate := make(chan struct{})
		r.msgs.set(nil, hookOn("save", func() error { <-gate; return nil }))
		var wg sync.WaitGroup
		wg.Go(func() { r.mustPush("k", "1", true) })
		synctest.Wait() // stored; the answer is on its way
		r.tell("k", r.msgs.direct("k", "2", "web1").Mid)
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
		close(gate)
		wg.Wait()
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
		if n := r.stats.fills.Load(); n != 1 {
			t.Errorf("%d fills, want 1", n)
		}
	})
}

func TestSaveEndsADoubt(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		lost := true
		r.msgs.set(hookOn("read", func() error { return errDown }), hookOn("save", func() error {
			if lost {
				lost = false
				return errDown
			}
			return nil
		}))
		if res := r.push("k", "1", true); res.Code != peer.Failed {
			t.Fatalf("code %d, want Failed", res.Code)
		}
		r.msgs.set(nil, nil)
		start := time.Now()
		r.mustPush("k", "2", true)
		r.mustPush("k", "3", false)
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %v for what the save has told", d)
		}
		synctest.Wait()
		wantBodies(t, sock, "1", "2", "3")
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

// What is to be fetched may be gone by then, with a page of newer ones above it.
func TestFillThatFindsItsEndGoneEnds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		first := r.msgs.direct("k", "0", "web")
		r.msgs.mu.Lock()
		r.msgs.key("k").stored = nil // it expired
		r.msgs.mu.Unlock()
		for i := range page + 5 {
			r.msgs.direct("k", fmt.Sprint(i), fmt.Sprint("web", i))
		}
		r.tell("k", first.Mid)
		time.Sleep(time.Second)
		if n := r.stats.fills.Load(); n != 1 {
			t.Errorf("%d fills, want 1", n)
		}
		wantBodies(t, sock)
	})
}

func TestForeignMidsDoNotHoldUpACatchUp(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 2 }, func(t *testing.T, r *rig) {
		_, sock := r.join("k", nil)
		for i := range 4 {
			r.mustPush("k", fmt.Sprint(i), true)
		}
		far := mid.Of(time.Now()) + 2*3600*mid.Second
		r.msgs.mu.Lock()
		k := r.msgs.key("k")
		for i := range int64(page) {
			k.stored = append(k.stored, peer.Stored{Msg: []byte(`"far"`), Mid: far + i*mid.Step})
		}
		r.msgs.mu.Unlock()
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, "0", "1", "2", "3")
		r.mustPush("k", "4", false)
		wantBodies(t, sock, "0", "1", "2", "3", "4")
	})
}

// What was to go to those who were there is not kept for who comes later.
func TestMessageWithoutExpiryDoesNotOutliveItsSessions(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		read, save := make(chan struct{}), make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-read
			} else {
				<-save
			}
			return nil
		}, nil)
		r.tell("k", r.msgs.direct("k", "1", "web1").Mid)
		r.mustPush("k", "2", false) // waits for the fill
		var wg sync.WaitGroup
		wg.Go(func() { r.mustPush("k", "3", true) }) // keeps the channel
		synctest.Wait()
		sock.Close()
		synctest.Wait()
		close(read)
		synctest.Wait()
		_, later := r.join("k", nil)
		close(save)
		wg.Wait()
		time.Sleep(2 * time.Second)
		wantBodies(t, later, "3")
	})
}

// A store that is away is not asked again for sessions that have gone.
func TestNothingIsAskedForWhoHasLeft(t *testing.T) {
	for name, before := range map[string]func(*rig){
		"base":     func(*rig) {},
		"catch-up": func(r *rig) { r.mustPush("k", "1", true); r.mustPush("k", "2", true); r.mustPush("k", "3", true) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(c *Config) { c.Channel.MsgBuf = 2 }, func(t *testing.T, r *rig) {
				r.msgs.set(hookOn("read", func() error { return errDown }), nil)
				_, sock := r.join("k", nil)
				before(r)
				time.Sleep(3 * time.Second)
				sock.Close()
				time.Sleep(5 * time.Second)
				if n := r.env.table.len(); n != 0 {
					t.Errorf("%d channels stay behind", n)
				}
			})
		})
	}
}

// A push that waits for the base does not hold up one that is to be stored, whose
// save tells the base.
func TestStoredPushDoesNotWaitBehindOneThatIsNot(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.msgs.set(hookOn("read", func() error { <-gate; return nil }), nil)
		_, sock := r.join("k", nil)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() { r.mustPush("k", fmt.Sprint(i), false) })
			synctest.Wait()
		}
		r.mustPush("k", "2", true)
		wg.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("all three took %v", d)
		}
		close(gate)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "2", "0", "1")
	})
}

// A base that came while a save was under way says nothing; where that save then
// fails, it has to be asked for again.
func TestBaseIsAskedForAgainAfterASaveThatFails(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		read, save := make(chan struct{}), make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-read
				return nil
			}
			<-save
			return errDown
		}, nil)
		_, sock := r.join("k", nil)
		var wg sync.WaitGroup
		wg.Go(func() { r.push("k", "1", true) })
		synctest.Wait()
		close(read)
		synctest.Wait()
		close(save)
		wg.Wait()
		synctest.Wait()
		r.mustPush("k", "2", false)
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, "2")
	})
}

// A store that says it failed may have stored all the same; one that was never
// reached has not.
func TestWhatMayHaveBeenStoredIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  string
		err  error
		want time.Duration
	}{
		{"the store failed", "bad", nil, 100 * time.Millisecond},
		{"the answer was lost", "k", rpcnet.ErrLost, 100 * time.Millisecond},
		{"nothing was sent", "k", rpcnet.ErrNotSent, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.live(tt.key)
				r.msgs.set(func(op string) error {
					if op == "read" {
						time.Sleep(100 * time.Millisecond)
						return nil
					}
					return tt.err
				}, nil)
				if res := r.push(tt.key, "1", true); res.Code != peer.Failed {
					t.Fatalf("code %d, want Failed", res.Code)
				}
				start := time.Now()
				r.mustPush(tt.key, "2", false)
				if d := time.Since(start); d != tt.want {
					t.Errorf("waited %v, want %v", d, tt.want)
				}
			})
		})
	}
}

// turningRing gives the key away after it was asked once.
type turningRing struct {
	*fakeRing
	asked atomic.Bool
}

func (r *turningRing) Owns(string) error {
	if r.asked.Swap(true) {
		return peer.ErrNotMine
	}
	return nil
}

func TestRingThatChangesDuringAJoinLeavesNobodyBehind(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.Server.deps.Ring = &turningRing{fakeRing: r.ring}
		sock := newFakeSocket()
		_, err := r.subscribe(sock, wire.Sub{Key: "k", Heartbeat: 30 * time.Second}, overTCP)
		if !errors.Is(err, ErrNotOwner) || sock.written.Len() != 0 {
			t.Errorf("err %v, written %q; want ErrNotOwner and nothing", err, sock.written.String())
		}
		synctest.Wait()
		if n := r.env.table.len(); n != 0 {
			t.Errorf("%d channels stay behind", n)
		}
	})
}
