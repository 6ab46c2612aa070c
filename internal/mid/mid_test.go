package mid

import (
	"math"
	"strconv"
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	tests := []struct {
		name               string
		last, floor, clock int64
		want               int64
	}{
		{"fresh key follows the clock", 0, 0, 1000, 1040},
		{"clock already a multiple", 0, 0, 1040, 1040},
		{"clock equals last", 1040, 0, 1040, 1120},
		{"clock behind last", 1040, 0, 10, 1120},
		{"floor is exceeded", 1040, 2000, 10, 2080},
		{"floor a multiple", 1040, 2080, 10, 2160},
		{"foreign last", 1041, 0, 0, 1120},
		{"blind save steps past what a comet may have given", 1040, Unknown, 0, 1040 + Blind},
		{"blind save on a fresh key", 0, Unknown, 1000, 1040},
		{"blind save with a floor below its step", 1040, AtLeast(2000), 0, 1040 + Blind},
		{"blind save with a floor above its step", 1040, AtLeast(1040 + Blind + 160), 0, 1040 + Blind + 240},
		{"blind save with a floor on a fresh key", 0, AtLeast(2000), 1000, 2080},
		{"blind save, clock far ahead", 1040, Unknown, 1e9, 1e9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Next(tt.last, tt.floor, tt.clock)
			if got != tt.want {
				t.Errorf("Next(%d, %d, %d) = %d, want %d", tt.last, tt.floor, tt.clock, got, tt.want)
			}
		})
	}
}

func TestNextIsTheSmallest(t *testing.T) {
	for last := int64(0); last < 300; last += 7 {
		for floor := int64(0); floor < 300; floor += 11 {
			for clock := int64(0); clock < 300; clock += 13 {
				m := Next(last, floor, clock)
				if m%Step != 0 || m <= last || m <= floor || m < clock {
					t.Fatalf("Next(%d, %d, %d) = %d breaks the rule", last, floor, clock, m)
				}
				if p := m - Step; p > last && p > floor && p >= clock {
					t.Fatalf("Next(%d, %d, %d) = %d, but %d would do", last, floor, clock, m, p)
				}
			}
		}
	}
}

func TestMidsSurviveAFloat64(t *testing.T) {
	m := Next(0, 0, Of(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)))
	for range 100_000 {
		n := Next(m, 0, 0)
		if f := float64(n); int64(f) != n || f == float64(m) {
			t.Fatalf("%d does not survive a float64", n)
		}
		if s := strconv.FormatFloat(float64(n), 'f', -1, 64); s != strconv.FormatInt(n, 10) {
			t.Fatalf("%d prints as %s", n, s)
		}
		m = n
	}
}

func TestAfterAndLimits(t *testing.T) {
	for in, want := range map[int64]int64{0: 80, 79: 80, 80: 160, -5: 0, math.MaxInt64 - 1: math.MaxInt64 / Step * Step} {
		if got := After(in); got != want {
			t.Errorf("After(%d) = %d, want %d", in, got, want)
		}
	}
	now := time.Date(2026, 11, 23, 2, 0, 0, 123456700, time.UTC)
	if got := Time(Of(now)); !got.Equal(now) {
		t.Errorf("Time(Of(%v)) = %v", now, got)
	}
	if clock := Of(now); Foreign(clock+3600*Second, clock) || !Foreign(clock+3600*Second+1, clock) {
		t.Error("a mid is foreign from one hour ahead on")
	} else if h := Horizon(clock); Foreign(h, clock) || !Foreign(h+1, clock) {
		t.Errorf("Horizon(%d) = %d is not the last that is not foreign", clock, h)
	}
}
