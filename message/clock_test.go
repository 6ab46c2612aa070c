package message

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

// TestClock proves that a daemon tells its time, hears of its clock and shows it.
func TestClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 5)
	clock := &fakeClock{}
	for _, tt := range []struct {
		name  string
		clock Clock
		args  peer.ClockArgs
		want  fakeClock
	}{
		{"nobody knows", nil, peer.ClockArgs{From: "web a", Known: true, Off: 5}, fakeClock{}},
		{"the first call", clock, peer.ClockArgs{From: "web a"}, fakeClock{}},
		{"a later one", clock, peer.ClockArgs{From: "comet b", Known: true, Off: -90_000}, fakeClock{"comet b", 90 * time.Second}},
	} {
		s := &Service{now: func() time.Time { return now }, clock: tt.clock}
		var reply peer.ClockReply
		if err := s.Clock(&tt.args, &reply); err != nil || reply.Now != now.UnixNano() {
			t.Errorf("%s: told %d, %v; want %d", tt.name, reply.Now, err, now.UnixNano())
		}
		if *clock != tt.want {
			t.Errorf("%s: was told %+v, want %+v", tt.name, *clock, tt.want)
		}
	}
	server := &Server{service: &Service{clock: clock}, shards: &shards{}}
	if got := server.Stat().(Stat).ClockOff; got != 7000 {
		t.Errorf("clock_off_ms = %d, want 7000", got)
	}
}
