package comet

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

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
