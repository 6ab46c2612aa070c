package comet

import (
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

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
