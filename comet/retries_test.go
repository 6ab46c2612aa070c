package comet

import (
	"context"
	"encoding/json"
	"sync"
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

// TestDirectSaveThatOvertakesTheOriginal has web store a message past the comet,
// because its repeat could not be sent, and the original is read after all that:
// from the buffer of a connection which web gave up while the comet was frozen.
func TestDirectSaveThatOvertakesTheOriginal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		learn func(r *rig, m int64) // how the channel comes to know of the message
	}{
		{"told by web", func(r *rig, m int64) {
			(&Service{r.Server}).Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: "k", Mid: m}}}, &peer.SyncReply{})
		}},
		{"by the next save", func(r *rig, _ int64) { r.mustPush("k", "3", true) }},
		{"as the last one there was", func(r *rig, _ int64) { r.live("k") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				var sock *fakeSocket
				original := r.item("2", true, "k")
				if tt.name != "as the last one there was" {
					_, sock = r.live("k")
				}
				saved := r.msgs.direct("k", "2", original.Nonce)
				tt.learn(r, saved.Mid)
				time.Sleep(retryAge - 5*time.Second)
				if got := r.Server.push(context.Background(), []peer.Push{original})[0]; got.Code != peer.OK || got.Mid != saved.Mid {
					t.Errorf("the original got %+v, want mid %d, under which it is stored", got, saved.Mid)
				}
				r.mustPush("k", "4", true)
				synctest.Wait()
				if sock != nil && tt.name == "told by web" {
					wantBodies(t, sock, "2", "4")
				} else if sock != nil {
					wantBodies(t, sock, "2", "3", "4")
				}
				copies := 0
				for _, m := range r.msgs.keys["k"].stored {
					if string(m.Msg) == "2" {
						copies++
					}
				}
				if copies != 1 {
					t.Errorf("it is stored %d times", copies)
				}
			})
		})
	}
}

// TestOriginalAfterEverybodyLeft has a comet wake up to a push, to clients that are
// gone, and to the original of one that web has stored meanwhile: nobody is there
// for whom the messages in between would be fetched, and they are strange all the
// same.
func TestOriginalAfterEverybodyLeft(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		s, _ := r.live("k")
		r.mustPush("k", "1", true)
		original := r.item("2", true, "k")
		saved := r.msgs.direct("k", "2", original.Nonce)
		release := make(chan struct{})
		r.msgs.set(hookOn("save", func() error { <-release; return nil }), nil)
		var wg sync.WaitGroup
		wg.Go(func() { r.mustPush("k", "3", true) })
		synctest.Wait()
		var got peer.PushResult
		wg.Go(func() { got = r.Server.push(context.Background(), []peer.Push{original})[0] })
		s.end(endClient)
		synctest.Wait()
		close(release)
		wg.Wait()
		if got.Code != peer.OK || got.Mid != saved.Mid {
			t.Errorf("the original got %+v, want mid %d, under which it is stored", got, saved.Mid)
		}
		if n := len(r.msgs.keys["k"].stored); n != 3 {
			t.Errorf("%d messages are stored, want 3", n)
		}
	})
}

// TestCallersID: what comes again with its caller's id is known however much came
// since, and another message under that id is refused, not swallowed. Neither is
// kept in mind here: a caller may name each of its pushes.
func TestCallersID(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.live("k")
		named := r.item("1", true, "k")
		named.Named = true
		first := r.Server.push(context.Background(), []peer.Push{named})[0]
		r.mustPush("k", "2", true)
		time.Sleep(2 * retryAge)
		r.mustPush("k", "3", true)
		if again := r.Server.push(context.Background(), []peer.Push{named})[0]; again.Code != peer.OK || again != first {
			t.Errorf("again: %+v, want %+v", again, first)
		}
		named.Msg = json.RawMessage("4")
		if other := r.Server.push(context.Background(), []peer.Push{named})[0]; other.Code != peer.Conflict || other.Mid != 0 {
			t.Errorf("another message: %+v, want a conflict", other)
		}
		r.mustPush("k", "5", true)
		synctest.Wait()
		wantBodies(t, sock, "1", "2", "3", "5")
		named.Retry = true
		r.Server.push(context.Background(), []peer.Push{named})
		if r.env.retries.any.Load() {
			t.Error("the id is noted")
		}
	})
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
