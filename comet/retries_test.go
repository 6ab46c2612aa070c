package comet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
)

// TestRepeatThatOvertakesTheOriginal pushes a message whose repeat is read first,
// as after a freeze. It is stored and delivered once, and both get its mid.
func TestRepeatThatOvertakesTheOriginal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		apart time.Duration
	}{{"at once", 0}, {"late", retryAge - time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				_, sock := r.live("k")
				r.mustPush("k", "1", true)
				original := r.item("2", true, "k")
				repeat := original
				repeat.Retry = true
				first := r.Server.push(context.Background(), []peer.Push{repeat})[0]
				r.mustPush("k", "3", true)
				time.Sleep(tt.apart)
				second := r.Server.push(context.Background(), []peer.Push{original})[0]
				if first.Code != peer.OK || second != first {
					t.Errorf("the repeat got %+v, the original %+v, want the same mid", first, second)
				}
				synctest.Wait()
				wantBodies(t, sock, "1", "2", "3")
				if n := len(r.msgs.keys["k"].stored); n != 3 {
					t.Errorf("%d messages are stored, want 3", n)
				}
			})
		})
	}
}

func TestRetriesForget(t *testing.T) {
	var r retries
	now := time.Now()
	r.mark(&push{nonce: "a", expireAt: 1, retry: true}, now)
	for _, tt := range []struct {
		after time.Duration
		nonce string
		want  bool
	}{
		{0, "a", true},
		{0, "b", false},
		{retryAge, "a", true},
		{2 * retryAge, "a", false},
	} {
		p := &push{nonce: tt.nonce, expireAt: 1}
		if r.mark(p, now.Add(tt.after)); p.retry != tt.want {
			t.Errorf("%s after %v: retry = %t, want %t", tt.nonce, tt.after, p.retry, tt.want)
		}
	}
	if r.any.Load() {
		t.Error("nonces are kept for ever")
	}
}
