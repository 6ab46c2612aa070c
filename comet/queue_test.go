package comet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

func TestPushReachesEverySessionInOrder(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, a := r.live("k")
		_, b := r.live("k")
		var mids []int64
		for i := range 6 {
			mids = append(mids, r.mustPush("k", fmt.Sprint(i), i%2 == 0))
		}
		if !slices.IsSorted(mids) || len(slices.Compact(mids)) != 6 {
			t.Errorf("mids in the answers do not rise: %v", mids)
		}
		for _, sock := range []*fakeSocket{a, b} {
			wantBodies(t, sock, "0", "1", "2", "3", "4", "5")
			for i, g := range sock.messages(t) {
				if g.Mid != mids[i] {
					t.Errorf("message %d has mid %d on the socket, %d in the answer", i, g.Mid, mids[i])
				}
			}
		}
	})
}

func TestPushToNobodyLeavesNothingBehind(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		if m := r.mustPush("k", "1", false); m != 0 {
			t.Errorf("expire 0 to nobody has mid %d, want none", m)
		}
		if len(r.msgs.saves) != 0 {
			t.Error("expire 0 to nobody asked the store")
		}
		if m := r.mustPush("k", "2", true); m == 0 || m%mid.Step != 0 {
			t.Errorf("stored push has mid %d", m)
		}
		synctest.Wait()
		if n := r.env.table.len(); n != 0 {
			t.Errorf("%d channels stay", n)
		}
	})
}

func TestCallerThatGaveUpIsNotAnsweredTwice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.msgs.set(func(op string) error {
			if op == "save" {
				time.Sleep(5 * time.Second)
			}
			return nil
		}, nil)
		start := time.Now()
		if res := r.push("k", "1", true); res.Code != peer.Failed {
			t.Errorf("code %d, want Failed", res.Code)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("answered after %v, want the caller's 2s", d)
		}
		// Expire 0 behind a save waits for it, within its own time.
		if res := r.push("k", "2", false); res.Code != peer.Failed {
			t.Errorf("behind a hung save: code %d, want Failed", res.Code)
		}
		// Another key of the same comet is not held up.
		r.msgs.set(nil, nil)
		_, other := r.live("other")
		r.mustPush("other", "1", true)
		wantBodies(t, other, "1")
		time.Sleep(10 * time.Second)
		r.mustPush("k", "3", true)
		synctest.Wait()
		all := sock.messages(t)
		if b := bodies(all); b[len(b)-1] != "3" || slices.Contains(b, "2") || !rising(all) {
			t.Errorf("received %v, want 3 last and never 2", b)
		}
	})
}

// A caller that gave up may have gone another way by the time that its push
// could be saved here.
func TestPushWhoseCallerGaveUpIsNotSaved(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		slow := true
		r.msgs.set(func(op string) error {
			if op == "save" && slow {
				slow = false
				time.Sleep(time.Second)
			}
			return nil
		}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { r.mustPush("k", "1", true) })
		synctest.Wait()
		p := r.item("2", true, "k")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		wg.Go(func() { r.mustPush("k", "3", true) })
		synctest.Wait()
		if res := r.Server.push(ctx, []peer.Push{p})[0]; res.Code != peer.Failed {
			t.Errorf("code %d, want Failed", res.Code)
		}
		m := r.msgs.direct("k", "2", p.Nonce).Mid
		if err := (&Service{r.Server}).Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: "k", Mid: m}}}, &peer.SyncReply{}); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		synctest.Wait()
		wantBodies(t, sock, "2", "1", "3")
	})
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
