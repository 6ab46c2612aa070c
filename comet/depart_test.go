package comet

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// A comet that will be back serves who is still connected, and counts the time
// for which its place is kept from the moment when nobody is.
func TestKeptPlaceServesUntilTheLastIsGone(t *testing.T) {
	change := func(c *Config) {
		c.Migrate.Rate = 1
		c.Drain = Drain{Timeout: config.Duration(time.Minute), Keep: config.Duration(10 * time.Second)}
	}
	bubble(t, change, func(t *testing.T, r *rig) {
		member := &fakeMember{left: make(chan struct{})}
		r.member = member
		sessions, socks := make(map[string]*session), make(map[string]*fakeSocket)
		for _, key := range []string{"a", "b", "c", "d"} {
			sessions[key], socks[key] = r.live(key)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.drain(ctx, func() {}, &http.Server{}) }()
		time.Sleep(1500 * time.Millisecond) // one a second: two are on their way
		synctest.Wait()
		if r.Ready(t.Context()) == nil {
			t.Error("ready while it drains")
		}
		staying := 0
		for key, s := range sessions {
			if res := r.push(key, `"late"`, true); res.Code != peer.OK {
				t.Errorf("push to %s: %v, want ok", key, res.Code)
			}
			if s.ended() { // "-n" was the last it heard
				continue
			}
			staying++
			wantBodies(t, socks[key], `"late"`)
		}
		if staying != 2 {
			t.Errorf("%d of 4 are still served after 1.5 s of one a second, want 2", staying)
		}
		time.Sleep(20 * time.Second)
		for _, sock := range socks {
			sock.Close()
		}
		if err := <-done; err != nil {
			t.Errorf("drain: %v", err)
		}
		select {
		case <-member.left:
			t.Error("the place was given up")
		default:
		}
		if len(member.kept) != 2 || member.kept[0].Sub(began) != 10*time.Second || time.Until(member.kept[1]) != 10*time.Second {
			t.Errorf("kept until %v; began at %v, ended at %v; want 10 s after each", member.kept, began, time.Now())
		}
	})
}

// A registry that is away when a comet ends is no failure of the comet's: the
// session's end takes it out of the ring.
func TestDrainWithoutRegistry(t *testing.T) {
	for name, keep := range map[string]time.Duration{"leaves": 0, "keeps its place": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(c *Config) { c.Drain.Keep = config.Duration(keep) }, func(t *testing.T, r *rig) {
				r.member = &fakeMember{left: make(chan struct{}), leave: errors.New("no session")}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.drain(ctx, func() {}, &http.Server{}); err != nil {
					t.Errorf("drain: %v, want nil", err)
				}
			})
		})
	}
}

// Others have a moment to hear that the comet has left before its clients ask
// them where to go; who comes meanwhile is told to ask again.
func TestDrainGivesNotice(t *testing.T) {
	for _, tt := range []struct {
		name    string
		clients int
		notice  bool
	}{
		{"with clients", 1, true},
		{"without", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				member := &fakeMember{left: make(chan struct{})}
				r.member = member
				var sessions []*session
				for range tt.clients {
					s, sock := r.live("k")
					sessions = append(sessions, s)
					time.AfterFunc(2*time.Second, func() { sock.Close() })
				}
				began := time.Now()
				done := make(chan error, 1)
				go func() { done <- r.drain(t.Context(), func() {}, &http.Server{}) }()
				<-member.left
				synctest.Wait()
				for _, s := range sessions {
					if s.ended() {
						t.Error("a client was sent away before others could know")
					}
					if _, err := r.subscribe(newFakeSocket(), wire.Sub{Key: "k", Heartbeat: time.Minute, Mid: -1, Pmid: -1}, overTCP); !errors.Is(err, ErrNotOwner) {
						t.Errorf("a client that comes now: %v, want ErrNotOwner", err)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for _, s := range sessions {
					if !s.ended() || s.reason() != endDrain {
						t.Errorf("ended=%v reason=%v after a second", s.ended(), s.reason())
					}
				}
				if err := <-done; err != nil {
					t.Errorf("drain: %v", err)
				}
				if took := time.Since(began); !tt.notice && took > time.Second {
					t.Errorf("took %v with nobody to wait for", took)
				}
			})
		})
	}
}
