package peer

import (
	"testing"
	"testing/synctest"
	"time"
)

// left is what Left says of a call that was sent so long ago.
func left(w *Waits, s sender, ago time.Duration) int64 {
	stamp := s.stamp()
	stamp.At -= ago.Milliseconds()
	n, ok := w.Left(stamp, 1000)
	if !ok {
		return -1
	}
	return n
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waits
		s := newSender()
		time.Sleep(time.Hour)
		check := func(what string, ago time.Duration, want int64) {
			t.Helper()
			if got := left(&w, s, ago); got != want {
				t.Errorf("%s: %d ms of 1000 are left, want %d", what, got, want)
			}
		}
		check("the first call", 0, 1000)
		check("one that came at once", 0, 1000)
		check("one that has waited", 300*time.Millisecond, 700)
		check("one whose caller gave up", 30*time.Second, -1)
		check("one at the last moment", 1000*time.Millisecond, -1)
		check("the next one", 0, 1000)

		// Others are measured by themselves; who does not say is not.
		if got := left(&w, newSender(), 30*time.Second); got != 1000 {
			t.Errorf("the first call of another one: %d", got)
		}
		if n, ok := w.Left(Sent{}, 1000); n != 1000 || !ok {
			t.Errorf("an older caller: %d %v", n, ok)
		}
		if n, ok := w.Left(Sent{By: s.by}, 0); n != 0 || !ok {
			t.Errorf("no budget: %d %v", n, ok)
		}
	})
}

// Clocks of machines drift apart, by seconds a day.
func TestWaitsFollowADrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waits
		s := newSender()
		for i := range 24 * 60 {
			if got := left(&w, s, time.Duration(i)*10*time.Millisecond); got < 1000 { // 167 ppm
				t.Fatalf("after %d minutes %d ms are left", i, got)
			}
			time.Sleep(time.Minute)
		}
		if got := left(&w, s, 24*60*10*time.Millisecond+2*time.Second); got >= 0 {
			t.Errorf("one that is late after that: %d ms are left", got)
		}
	})
}

// A sender whose machine slept is late for ever by its clock: that heals.
func TestWaitsHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waits
		s := newSender()
		left(&w, s, 0)
		time.Sleep(time.Minute)
		since := time.Now()
		for left(&w, s, 30*time.Second) < 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(since); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("healed after %v", took)
		}
		// Late calls now and then are late each time.
		time.Sleep(time.Minute)
		for range 5 {
			if got := left(&w, s, 90*time.Second); got >= 0 {
				t.Errorf("%d ms are left", got)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waits
		first, second := newSender(), newSender()
		left(&w, first, 0)
		time.Sleep(time.Second)
		left(&w, second, 0)
		for range waitSenders - 1 {
			left(&w, newSender(), 0)
		}
		if len(w.from) != waitSenders || w.from[first.by] != nil || w.from[second.by] == nil {
			t.Errorf("%d senders are known, the first: %v, the second: %v", len(w.from), w.from[first.by], w.from[second.by])
		}
	})
}
