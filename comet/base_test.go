package comet

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

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

func TestFirstMidWithoutAnyStoredLiesBelowTheClock(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.live("k")
		m, clock := r.mustPush("k", "1", false), mid.Of(time.Now())
		if want := mid.After(clock - baseAge - 2*mid.Second); m < want || m > clock-baseAge+mid.Step {
			t.Errorf("mid %d is %v below the clock, want %v", m, time.Duration(clock-m)*100, 2*time.Minute)
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
