package comet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// bubble runs f with a fake clock and a rig that it closes.
func bubble(t *testing.T, change func(*Config), f func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		f(t, r)
		r.close()
	})
}

func wantBodies(t *testing.T, sock *fakeSocket, want ...string) {
	t.Helper()
	all := sock.messages(t)
	if b := bodies(all); !slices.Equal(b, want) {
		t.Errorf("received %v, want %v", b, want)
	}
	if !rising(all) {
		t.Errorf("mids do not rise: %v", all)
	}
}

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

func TestLiveMessagesWaitForTheClientsOwnFetch(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.join("k", nil)
		time.Sleep(100 * time.Millisecond)
		r.mustPush("k", "1", true)
		r.mustPush("k", "2", false)
		wantBodies(t, sock)
		time.Sleep(950 * time.Millisecond)
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
		r.mustPush("k", "3", true)
		wantBodies(t, sock, "1", "2", "3")
	})
}

func TestWhatAnotherSavedInBetweenIsFetchedFirst(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.direct("k", "2", "web1")
		r.msgs.direct("k", "3", "web2")
		wantBodies(t, sock, "1")
		r.mustPush("k", "4", true)
		synctest.Wait()
		wantBodies(t, sock, "1", "2", "3", "4")
		if n := r.stats.fills.Load(); n != 1 {
			t.Errorf("%d fills, want 1", n)
		}
	})
}

func TestPushIsAnsweredWhileItsDeliveryWaitsForAFill(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.direct("k", "2", "web1")
		gate := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-gate
			}
			return nil
		}, nil)
		r.mustPush("k", "3", true) // must not wait for the gate
		r.mustPush("k", "4", false)
		r.mustPush("k", "5", true)
		wantBodies(t, sock, "1")
		close(gate)
		synctest.Wait()
		wantBodies(t, sock, "1", "2", "3", "4", "5")
	})
}

func TestManyPushesDuringAFillAreReadFromTheStore(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 4 }, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.msgs.direct("k", `"web"`, "web1")
		gate := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-gate
			}
			return nil
		}, nil)
		want := []string{`"web"`}
		for i := range 250 { // more than two pages and the queue
			r.mustPush("k", fmt.Sprint(i), true)
			want = append(want, fmt.Sprint(i))
		}
		if res := r.push("k", `"lost"`, false); res.Code != peer.Failed {
			t.Errorf("expire 0 with a full queue: code %d, want Failed", res.Code)
		}
		close(gate)
		synctest.Wait()
		wantBodies(t, sock, want...)
	})
}

func TestFillThatFailsEndsTheSessions(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.direct("k", "2", "web1")
		r.msgs.set(func(op string) error {
			if op == "read" {
				return errDown
			}
			return nil
		}, nil)
		r.mustPush("k", "3", true)
		time.Sleep(500 * time.Millisecond)
		if sess.ended() {
			t.Fatal("ended before readTimeout")
		}
		time.Sleep(3 * time.Second)
		if !sess.ended() || sess.reason() != endFillFailed {
			t.Errorf("ended=%v reason=%v, want fill_failed", sess.ended(), sess.reason())
		}
		wantBodies(t, sock, "1")
	})
}

func TestFillThatRecoversLosesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		r.msgs.direct("k", "1", "web1")
		fails := 3
		r.msgs.set(func(op string) error {
			if op == "read" && fails > 0 {
				fails--
				return errDown
			}
			return nil
		}, nil)
		r.mustPush("k", "2", true)
		time.Sleep(2 * time.Second)
		if sess.ended() {
			t.Fatalf("session ended: %v", sess.reason())
		}
		wantBodies(t, sock, "1", "2")
	})
}

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

func TestBaseIsLearnedFromTheStore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.direct("k", "1", "old") // before anybody connects: the client fetches it
		_, sock := r.live("k")
		m := r.mustPush("k", "2", false)
		r.mustPush("k", "3", true)
		synctest.Wait()
		wantBodies(t, sock, "2", "3")
		if clock := mid.Of(time.Now()); m <= clock-baseAge-100*mid.Step || m >= clock {
			t.Errorf("expire-0 mid %d is not just above the base, below the clock %d", m, clock)
		}
	})
}

func TestWithoutABaseExpireZeroWaitsAndStoredGoesOn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.set(func(op string) error {
			if op == "read" {
				return errDown
			}
			return nil
		}, nil)
		sess, sock := r.live("k")
		if sess.ended() || !slices.Equal(sock.written.Bytes(), []byte("+h\r\n")) {
			t.Fatalf("a store that is down must not stop a connect: %q", sock.written.Bytes())
		}
		if res := r.push("k", "0", false); res.Code != peer.Failed {
			t.Errorf("expire 0 without a base: code %d, want Failed", res.Code)
		}
		r.msgs.set(nil, nil)
		r.mustPush("k", "1", true) // the save's answer is a base, too
		time.Sleep(5 * time.Second)
		r.mustPush("k", "2", false)
		wantBodies(t, sock, "1", "2")
	})
}

func TestLateBaseHandsOutWhatTheFetchMayHaveMissed(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.set(func(op string) error {
			if op == "read" {
				return errDown
			}
			return nil
		}, nil)
		_, sock := r.join("k", nil)
		time.Sleep(5 * time.Second) // the client has fetched long ago
		r.msgs.direct("k", "1", "web1")
		r.msgs.set(nil, nil)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "1")
		r.mustPush("k", "2", true)
		wantBodies(t, sock, "1", "2")
	})
}

func TestBaseReadDuringASaveDoesNotHideIt(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		saved := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-saved // the base is read after the save, and says so
			}
			return nil
		}, func(op string) error {
			if op == "save" {
				close(saved)
				time.Sleep(100 * time.Millisecond) // but its answer is here first
			}
			return nil
		})
		_, sock := r.join("k", nil)
		r.mustPush("k", "1", true)
		r.msgs.set(nil, nil)
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, "1")
	})
}

func TestHeldMessagesThatDoNotFitAreReadAgain(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 3 }, func(t *testing.T, r *rig) {
		_, sock := r.join("k", nil)
		var want []string
		for i := range 130 {
			r.mustPush("k", fmt.Sprint(i), true)
			want = append(want, fmt.Sprint(i))
		}
		wantBodies(t, sock)
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, want...)
		r.mustPush("k", `"live"`, false)
		wantBodies(t, sock, append(want, `"live"`)...)
		if n := r.stats.dropped.Load(); n != 0 {
			t.Errorf("%d stored messages count as dropped", n)
		}
	})
}

func TestStoredMessageBelowOneThatWasSentEndsTheSession(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.direct("k", "2", "web1")
		for range 2000 { // more than the room that a direct save leaves
			r.mustPush("k", `"x"`, false)
		}
		if sess.ended() {
			t.Fatalf("ended early: %v", sess.reason())
		}
		r.mustPush("k", "3", true)
		synctest.Wait()
		if sess.reason() != endOvertaken {
			t.Errorf("reason %v, want overtaken", sess.reason())
		}
		if all := sock.messages(t); !rising(all) {
			t.Error("mids do not rise")
		}
	})
}

func TestForeignMidsStayOffTheSocket(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.direct("k", "2", "web1")
		gate := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-gate
			}
			return nil
		}, nil)
		r.mustPush("k", "3", true)
		r.msgs.mu.Lock()
		k := r.msgs.key("k")
		k.stored = append(k.stored, peer.Stored{Msg: json.RawMessage(`"far"`), Mid: mid.Of(time.Now()) + 2*3600*mid.Second})
		r.msgs.mu.Unlock()
		close(gate)
		synctest.Wait()
		wantBodies(t, sock, "1", "2", "3")
	})
}

func TestTooManySessionsOfAKey(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MaxSubscriber = 2 }, func(t *testing.T, r *rig) {
		a, _ := r.live("k")
		r.live("k")
		_, err := r.subscribe(newFakeSocket(), wire.Sub{Key: "k", Heartbeat: 30 * time.Second}, overTCP)
		if !errors.Is(err, ErrFull) {
			t.Fatalf("third session: %v, want ErrFull", err)
		}
		a.end(endClient)
		synctest.Wait()
		r.live("k")
	})
}

func TestRingChangeSendsForeignSessionsAway(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.followRing(ctx) }()
		stay, _ := r.live("stay")
		moved, sock := r.live("moved")
		r.ring.move("moved")
		synctest.Wait()
		if stay.ended() {
			t.Error("a session that is still ours was ended")
		}
		if !moved.ended() || moved.reason() != endNotOwner {
			t.Errorf("moved: ended=%v reason=%v", moved.ended(), moved.reason())
		}
		if s := sock.written.String(); s != "+h\r\n-n\r\n" || !sock.shut {
			t.Errorf("a client with a version was told %q, shut=%v", s, sock.shut)
		}
		if res := r.push("moved", "1", true); res.Code != peer.NotMine {
			t.Errorf("push to a key that moved: code %d, want NotMine", res.Code)
		}
		sock.Close()
		cancel()
		<-done
	})
}

func TestSyncHandsOutWhatWasSavedElsewhere(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		v := &Service{r.Server}
		sync := func(key string, m int64) peer.Code {
			var reply peer.SyncReply
			if err := v.Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: key, Mid: m}}}, &reply); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return reply.Codes[0]
		}
		m := r.msgs.direct("k", "1", "web1").Mid
		wantBodies(t, sock)
		for range 2 { // told twice, handed out once
			if code := sync("k", m); code != peer.OK {
				t.Errorf("Sync: %v", code)
			}
			wantBodies(t, sock, "1")
		}
		if code := sync("foreign", m); code != peer.NotMine {
			t.Errorf("Sync of another comet's key: %v, want NotMine", code)
		}
		if code := sync("nobody", m); code != peer.OK || r.env.table.len() != 1 {
			t.Errorf("Sync of a key without sessions: %v, %d channels", code, r.env.table.len())
		}
		// Before the base is known it counts as seen by nobody.
		gate := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-gate
			}
			return nil
		}, nil)
		_, early := r.join("early", nil)
		sync("early", r.msgs.direct("early", "1", "web2").Mid)
		close(gate)
		time.Sleep(2 * time.Second)
		wantBodies(t, early, "1")
	})
}

func TestMidsFollowWhatACatchUpHasShown(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 3 }, func(t *testing.T, r *rig) {
		sess, sock := r.join("k", nil)
		var want []string
		for i := range 6 {
			r.mustPush("k", fmt.Sprint(i), true)
			want = append(want, fmt.Sprint(i))
		}
		r.msgs.direct("k", "6", "web1") // nobody tells: the catch-up meets it
		time.Sleep(2 * time.Second)
		r.mustPush("k", "7", false)
		synctest.Wait()
		if sess.ended() {
			t.Errorf("session ended: %v", sess.reason())
		}
		wantBodies(t, sock, append(want, "6", "7")...)
	})
}

// A direct save that comes between the client's fetch and a base read that is
// slow is in neither.
func TestSlowBaseHidesNothingFromAClientThatHasFetched(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.set(func(op string) error {
			if op == "read" {
				time.Sleep(600 * time.Millisecond)
			}
			return nil
		}, nil)
		_, sock := r.join("k", nil)
		time.Sleep(100 * time.Millisecond) // the client has fetched: nothing
		r.msgs.direct("k", "1", "web1")
		time.Sleep(3 * time.Second)
		wantBodies(t, sock, "1")
	})
}

// A message that is not stored, was held, and lies below what the session has
// read meanwhile is nothing that its client could take: it is no reason to end.
func TestHeldMessageBelowWhatWasReadIsDropped(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.msgs.set(func(op string) error {
			if op == "read" {
				<-gate
			}
			return nil
		}, nil)
		sess, sock := r.join("k", nil) // answered before its base is known: it will read again
		time.Sleep(2 * time.Second)
		r.mustPush("k", "1", true)  // tells the base; the session's own read begins
		r.mustPush("k", "2", false) // waits for that read
		r.msgs.direct("k", "3", "web1")
		close(gate)
		time.Sleep(2 * time.Second)
		if sess.ended() {
			t.Errorf("session ended: %v", sess.reason())
		}
		wantBodies(t, sock, "1", "3")
		if n := r.stats.dropped.Load(); n != 1 {
			t.Errorf("%d messages counted as dropped, want 1", n)
		}
		r.mustPush("k", "4", false)
		wantBodies(t, sock, "1", "3", "4")
	})
}

// A save whose answer was lost may have taken the very mid that would come next.
func TestMidsKeepClearOfASaveWhoseAnswerWasLost(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		r.mustPush("k", "1", true)
		p := r.item("2", true, "k")
		slowly := func(op string) error {
			if op == "read" {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
		r.msgs.set(slowly, func(op string) error {
			if op == "save" {
				return errDown
			}
			return nil
		})
		if res := r.Server.push(t.Context(), []peer.Push{p})[0]; res.Code != peer.Failed {
			t.Fatalf("code %d, want Failed", res.Code)
		}
		r.msgs.set(slowly, nil)
		r.mustPush("k", "3", false)
		p.Retry = true
		if res := r.Server.push(t.Context(), []peer.Push{p})[0]; res.Code != peer.OK {
			t.Errorf("retry: code %d", res.Code)
		}
		time.Sleep(time.Second) // the fill is slow, too
		if sess.ended() {
			t.Errorf("session ended: %v", sess.reason())
		}
		wantBodies(t, sock, "1", "2", "3")
	})
}

// While the store stays away, what it does not keep goes on after a while.
func TestHungStoreStopsExpireZeroForAWhileOnly(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		r.mustPush("k", "1", true)
		r.msgs.set(func(string) error { return errDown }, nil)
		if res := r.push("k", "2", true); res.Code != peer.Failed {
			t.Fatalf("code %d, want Failed", res.Code)
		}
		time.Sleep(time.Second)
		start := time.Now()
		r.mustPush("k", "3", false)
		if d := time.Since(start); d > doubtTime {
			t.Errorf("waited for %v", d)
		}
		start = time.Now()
		r.mustPush("k", "4", false)
		if d := time.Since(start); d > 0 {
			t.Errorf("waited for another %v", d)
		}
		wantBodies(t, sock, "1", "3", "4")
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

func TestExpiredMessageIsNotDelivered(t *testing.T) {
	expires := func(t *testing.T, r *rig, body string) {
		p := r.item(body, true, "k")
		p.ExpireAt = time.Now().Unix() + 1
		if res := r.Server.push(t.Context(), []peer.Push{p})[0]; res.Code != peer.OK {
			t.Fatalf("code %d", res.Code)
		}
	}
	slowly := func(d time.Duration) func(op string) error {
		return func(op string) error {
			if op == "read" {
				time.Sleep(d)
			}
			return nil
		}
	}
	t.Run("held", func(t *testing.T) {
		bubble(t, func(c *Config) { c.Legacy.Hold = 3e9 }, func(t *testing.T, r *rig) {
			_, sock := r.join("k", nil)
			expires(t, r, "1")
			r.mustPush("k", "2", true)
			time.Sleep(5 * time.Second)
			wantBodies(t, sock, "2")
		})
	})
	t.Run("behind a fill", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, r *rig) {
			_, sock := r.live("k")
			r.msgs.direct("k", "1", "web1")
			r.msgs.set(slowly(1500*time.Millisecond), nil)
			expires(t, r, "2")
			r.mustPush("k", "3", true)
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "1", "3")
			r.mustPush("k", "4", true)
			synctest.Wait()
			wantBodies(t, sock, "1", "3", "4")
		})
	})
}
