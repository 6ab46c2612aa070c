package comet

import (
	"testing"
	"time"

	"gopush-cluster/internal/peer"
)

// fakeClock is a Clock that keeps what it is told.
type fakeClock struct {
	name  string
	ahead time.Duration
}

func (f *fakeClock) Told(name string, ahead time.Duration) { f.name, f.ahead = name, ahead }
func (f *fakeClock) Off() time.Duration                    { return 7 * time.Second }

// TestClock proves that a comet tells its time, hears of its clock and shows it.
func TestClock(t *testing.T) {
	r := start(t, nil)
	clock := &fakeClock{}
	for _, tt := range []struct {
		name  string
		clock Clock
		args  peer.ClockArgs
		want  fakeClock
	}{
		{"nobody knows", nil, peer.ClockArgs{From: "web a", Known: true, Off: 5}, fakeClock{}},
		{"the first call", clock, peer.ClockArgs{From: "web a"}, fakeClock{}},
		{"a later one", clock, peer.ClockArgs{From: "web a", Known: true, Off: 90_000}, fakeClock{"web a", -90 * time.Second}},
		{"it would overflow", clock, peer.ClockArgs{From: "web b", Known: true, Off: -1 << 63}, fakeClock{"web b", 100 * 365 * 24 * time.Hour}},
	} {
		r.deps.Clock = tt.clock
		before := time.Now()
		var reply peer.ClockReply
		if err := (&Service{r.Server}).Clock(&tt.args, &reply); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if at := time.Unix(0, reply.Now); at.Before(before.Round(0)) || at.After(time.Now()) {
			t.Errorf("%s: told %v, want the time", tt.name, at)
		}
		if *clock != tt.want {
			t.Errorf("%s: was told %+v, want %+v", tt.name, *clock, tt.want)
		}
	}
	if got := r.Stat().(Stat).ClockOff; got != 7000 {
		t.Errorf("clock_off_ms = %d, want 7000", got)
	}
}
