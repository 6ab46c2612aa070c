package comet

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

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

// A message that is not stored, was held, and lies below what the session has
// read meanwhile goes out in its place.
func TestHeldMessageBelowWhatWasReadKeepsItsPlace(t *testing.T) {
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
		wantBodies(t, sock, "1", "2", "3")
		if n := r.stats.dropped.Load(); n != 0 {
			t.Errorf("%d messages counted as dropped, want none", n)
		}
		r.mustPush("k", "4", false)
		wantBodies(t, sock, "1", "2", "3", "4")
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
