package comet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

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

func TestDoneIsToldWhenEverybodyIsGone(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.from.followRing(ctx) }()
		synctest.Wait()
		told := func() int {
			m.fromTo.mu.Lock()
			defer m.fromTo.mu.Unlock()
			return len(m.fromTo.done)
		}
		first := told() // nothing was foreign at the start
		m.from.ring.move("k")
		time.Sleep(time.Second)
		if !m.waitsSession.ended() || told() != first {
			t.Errorf("session ended = %v, told %d times while its socket is open, want %d", m.waitsSession.ended(), told(), first)
		}
		fails := 3
		m.fromTo.fail = func(string) error {
			if fails--; fails >= 0 {
				return rpcnet.ErrNotSent
			}
			return nil
		}
		m.waits.Close() // the client is gone
		time.Sleep(10 * time.Second)
		if got := told(); got != first+4 {
			t.Errorf("told %d times, want 4 tries after the first %d", got, first)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		last := m.fromTo.done[len(m.fromTo.done)-1]
		if last.Epoch != 8 || last.Root != 3 || last.High == 0 || len(m.to.ring.done) == 0 {
			t.Errorf("told %+v", last)
		}
	})
}

// A ring that is replaced while sessions are sent away is none to be done with:
// keys may have come back whose sessions were not touched yet.
func TestDoneIsNotSaidOfARingThatIsReplaced(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		m.from.live("k2")
		go func() { ended <- m.from.followRing(ctx) }()
		synctest.Wait()
		slow := *m.from.cfg.Load()
		slow.Migrate.Rate = 1
		m.from.cfg.Store(&slow)
		m.from.ring.move("k") // the second of the two sessions waits for a second
		synctest.Wait()
		m.from.ring.move("foreign")
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, d := range m.fromTo.done {
			if d.Epoch == 8 {
				t.Errorf("said to be done with ring 8, which was over: %+v", m.fromTo.done)
			}
		}
		if n := len(m.fromTo.done); m.fromTo.done[n-1].Epoch != 9 {
			t.Errorf("said %+v, want the last to be of ring 9", m.fromTo.done)
		}
	})
}
