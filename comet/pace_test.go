package comet

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/wire"
)

// rush makes n clients come at one moment and returns how many are in, and how
// many were sent off, as time goes by. wait waits for the last of them.
func (r *rig) rush(n int) (in, off *atomic.Int64, wait func()) {
	in, off = new(atomic.Int64), new(atomic.Int64)
	var coming sync.WaitGroup
	for i := range n {
		coming.Go(func() {
			sock := newFakeSocket()
			sub := wire.Sub{Key: fmt.Sprintf("k%d", i), Heartbeat: time.Hour, Version: "1.0", Mid: -1, Pmid: -1}
			sess, err := r.subscribe(sock, sub, overTCP)
			switch {
			case err == nil:
				in.Add(1)
				r.sockets.Go(func() {
					sock.Read(nil)
					sess.end(endClient)
					r.leave(sess)
				})
			case errors.Is(err, ErrBusy):
				off.Add(1)
			default:
				r.t.Errorf("k%d: %v", i, err)
			}
		})
	}
	return in, off, coming.Wait
}

func TestRestartInPlaceIsPaced(t *testing.T) {
	slow := func(c *Config) { c.Migrate.Rate = 10 }
	begin := func(r *rig, kept, known bool) {
		r.intake.begin(func() (bool, bool) { return kept, known }, time.Now().Add(30*time.Second))
	}
	want := func(t *testing.T, what string, got *atomic.Int64, least, most int64) {
		t.Helper()
		synctest.Wait()
		if n := got.Load(); n < least || n > most {
			t.Errorf("%s: %d, want %d to %d", what, n, least, most)
		}
	}
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept, known=%v", known), func(t *testing.T) {
			bubble(t, slow, func(t *testing.T, r *rig) {
				begin(r, known, known)
				in, off, wait := r.rush(100)
				time.Sleep(50 * time.Millisecond)
				want(t, "in at once", in, 1, 1)
				want(t, "sent off, who would wait for more than 5 s", off, 49, 50)
				for second := range int64(4) {
					time.Sleep(time.Second)
					want(t, fmt.Sprintf("in after %d s", second+1), in, 10*second+10, 10*second+12)
				}
				wait()
				want(t, "in at the end", in, 50, 51)
				time.Sleep(30 * time.Second)
				in, _, wait = r.rush(100)
				wait()
				want(t, "in at once, when the time is over", in, 100, 100)
			})
		})
	}
	t.Run("not kept", func(t *testing.T) {
		bubble(t, slow, func(t *testing.T, r *rig) {
			begin(r, false, true)
			began := time.Now()
			in, _, wait := r.rush(100)
			wait()
			want(t, "in", in, 100, 100)
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	})
	t.Run("who waits when the comet stops", func(t *testing.T) {
		bubble(t, slow, func(t *testing.T, r *rig) {
			begin(r, true, true)
			in, off, wait := r.rush(40)
			time.Sleep(time.Second + 50*time.Millisecond)
			r.intake.end()
			wait()
			want(t, "in", in, 11, 11)
			want(t, "sent off", off, 29, 29)
		})
	})
	t.Run("faster after SIGHUP", func(t *testing.T) {
		bubble(t, slow, func(t *testing.T, r *rig) {
			begin(r, true, true)
			cfg := *r.cfg.Load()
			cfg.Migrate.Rate = 1000
			if _, err := r.Reload(cfg); err != nil {
				t.Fatal(err)
			}
			in, _, wait := r.rush(100)
			time.Sleep(500 * time.Millisecond)
			want(t, "in", in, 100, 100)
			wait()
		})
	})
}

// TestPaceIsOneForAll sends sessions away for two reasons at a time.
func TestPaceIsOneForAll(t *testing.T) {
	bubble(t, func(c *Config) { c.Migrate.Rate = 2 }, func(t *testing.T, r *rig) {
		var sessions []*session
		for i := range 20 {
			s, _ := r.live(fmt.Sprintf("%c%d", "ab"[i%2], i))
			sessions = append(sessions, s)
		}
		gone := func() (n int) {
			synctest.Wait()
			for _, s := range sessions {
				if s.ended() {
					n++
				}
			}
			return n
		}
		var sending sync.WaitGroup
		for prefix, why := range map[string]reason{"a": endNotOwner, "b": endDrain} {
			sending.Go(func() {
				r.sendAway(t.Context(), why, func(c *channel) bool { return strings.HasPrefix(c.key, prefix) })
			})
		}
		time.Sleep(2*time.Second + 250*time.Millisecond)
		if n := gone(); n != 5 { // one at once
			t.Errorf("%d of 20 are gone after 2 s of two a second, want 5", n)
		}
		cfg := *r.cfg.Load()
		cfg.Migrate.Rate = 1
		r.pace.hurry(10) // as drain does: what it needs is not slowed down
		if _, err := r.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if n := gone(); n != 20 {
			t.Errorf("%d of 20 are gone after 2 s of ten a second, want all", n)
		}
		sending.Wait()
	})
}
