package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextDoublesUpToMaxWithJitter(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: 500 * time.Millisecond}
	for i, ceiling := range []time.Duration{100, 200, 400, 500, 500} {
		ceiling *= time.Millisecond
		if got := b.Next(); got < ceiling/2 || got > ceiling {
			t.Errorf("wait %d = %v, want between %v and %v", i, got, ceiling/2, ceiling)
		}
	}
	b.Reset()
	if got := b.Next(); got > b.Min {
		t.Errorf("after Reset = %v, want at most %v", got, b.Min)
	}
}

func TestNextStaysWithinItsLimits(t *testing.T) {
	tests := []struct {
		name    string
		b       Backoff
		highest time.Duration
	}{
		{"zero value", Backoff{}, time.Second},
		{"min above max", Backoff{Min: time.Minute, Max: time.Second}, time.Second},
		{"a nanosecond", Backoff{Min: 1, Max: 1}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 100 {
				if got := tt.b.Next(); got <= 0 || got > tt.highest {
					t.Fatalf("Next = %v, want above 0 and at most %v", got, tt.highest)
				}
			}
		})
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{Min: time.Second, Max: time.Second}
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Second/2 || took > time.Second {
			t.Errorf("waited %v, want 0.5s..1s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait past the context = %v, want context.DeadlineExceeded", err)
		}
	})
}
