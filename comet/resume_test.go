package comet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// numbers are the bodies from first to last.
func numbers(first, last int) []string {
	var out []string
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// store keeps the bodies from first to last and returns their mids.
func (r *rig) store(key string, first, last int) []int64 {
	var mids []int64
	for _, body := range numbers(first, last) {
		mids = append(mids, r.msgs.direct(key, body, body).Mid)
	}
	return mids
}

// gapsOf are the gaps a client was told.
func gapsOf(all []got) []wire.Gap {
	var gaps []wire.Gap
	for _, g := range all {
		if g.Gap != nil {
			gaps = append(gaps, *g.Gap)
		}
	}
	return gaps
}

func TestResumeSendsWhatIsStoredThenWhatComes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		mids := r.store("k", 1, 5)
		_, all := r.resume("k", 0)
		_, some := r.resume("k", mids[2])
		_, none := r.resume("k", mids[4])
		synctest.Wait() // at once, not after legacy.hold
		wantBodies(t, all, numbers(1, 5)...)
		wantBodies(t, some, "4", "5")
		if got := none.text(); got != string(wire.Accepted) {
			t.Errorf("with nothing to replay the client got %q, want +h alone", got)
		}
		r.mustPush("k", "6", true)
		r.mustPush("k", "7", false)
		synctest.Wait()
		wantBodies(t, all, numbers(1, 7)...)
		wantBodies(t, none, "6", "7")
		if n := r.stats.resumed.Load(); n != 3 {
			t.Errorf("%d sessions are counted as resumed, want 3", n)
		}
	})
}

func TestResumeReadsOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		var reads atomic.Int64
		r.store("k", 1, 3)
		r.msgs.set(func(op string) error {
			if op == "read" {
				reads.Add(1)
			}
			return nil
		}, nil)
		_, sock := r.resume("k", 0)
		synctest.Wait()
		m := r.mustPush("k", "4", false) // the base is known, too
		wantBodies(t, sock, numbers(1, 4)...)
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads for one client, want 1", n)
		}
		if clock := mid.Of(time.Now()); m >= clock+mid.Second {
			t.Errorf("an expire-0 mid is %d, the clock %d", m, clock)
		}
	})
}

// What is pushed while the store is read waits, and comes behind it, once.
func TestResumeHoldsWhatIsPushedMeanwhile(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 3)
		r.msgs.set(nil, func(op string) error {
			if op == "read" { // its answer is on its way
				time.Sleep(time.Second)
			}
			return nil
		})
		_, sock := r.resume("k", 0)
		time.Sleep(100 * time.Millisecond)
		r.mustPush("k", "4", true)
		r.mustPush("k", "5", false)
		r.mustPush("k", "6", true)
		if got := sock.text(); got != string(wire.Accepted) {
			t.Errorf("before the store has answered the client got %q", got)
		}
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, numbers(1, 6)...)
	})
}

// More than may wait is read from the store again.
func TestResumeOverflow(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 8 }, func(t *testing.T, r *rig) {
		r.store("k", 1, 3)
		var slow atomic.Bool
		slow.Store(true)
		r.msgs.set(nil, func(op string) error {
			if op == "read" && slow.Load() {
				time.Sleep(time.Second)
			}
			return nil
		})
		_, sock := r.resume("k", 0)
		time.Sleep(100 * time.Millisecond)
		for _, body := range numbers(4, 30) {
			r.mustPush("k", body, true)
		}
		slow.Store(false)
		time.Sleep(2 * time.Second)
		wantBodies(t, sock, numbers(1, 30)...)
	})
}

func TestResumeReadsAPageAtATime(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 1000 }, func(t *testing.T, r *rig) {
		r.store("k", 1, 3*page)
		_, sock := r.resume("k", 0)
		synctest.Wait()
		wantBodies(t, sock, numbers(1, 3*page)...)
	})
}

// What the store leaves out, for it cannot be read, hides nothing behind it; be it
// a whole page.
func TestReadGoesOnBehindWhatCannotBeRead(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 1000 }, func(t *testing.T, r *rig) {
		_, live := r.resume("k", 0) // and is handed the same by a fill
		synctest.Wait()
		r.store("k", 1, page-1)
		for i := range page + 1 {
			r.msgs.direct("k", unreadable, fmt.Sprint("u", i))
		}
		r.store("k", page, page+1)
		_, sock := r.resume("k", 0)
		r.mustPush("k", fmt.Sprint(page+2), true)
		time.Sleep(time.Second)
		wantBodies(t, sock, numbers(1, page+2)...)
		wantBodies(t, live, numbers(1, page+2)...)
	})
}

// What is not stored keeps its place among pages that are read after it was pushed.
func TestResumeLosesNothingBetweenPages(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MsgBuf = 1000 }, func(t *testing.T, r *rig) {
		r.store("k", 1, page)
		r.msgs.set(nil, func(op string) error {
			if op == "read" {
				time.Sleep(time.Second)
			}
			return nil
		})
		_, sock := r.resume("k", 0)
		time.Sleep(100 * time.Millisecond)
		r.mustPush("k", fmt.Sprint(page+1), true)
		r.mustPush("k", fmt.Sprint(page+2), false)
		r.mustPush("k", fmt.Sprint(page+3), true)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, numbers(1, page+3)...)
	})
}

// One that comes with nothing is told of what goes from then on.
func TestGapOfOneThatHadNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.most = 5
		r.msgs.set(func(op string) error {
			if op == "read" {
				return errDown
			}
			return nil
		}, nil)
		_, sock := r.resume("k", 0)
		time.Sleep(5 * time.Second)
		mids := r.store("k", 1, 10)
		r.msgs.set(nil, nil)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, append([]string{"gap"}, numbers(6, 10)...)...)
		if got := gapsOf(sock.messages(t)); !slices.Equal(got, []wire.Gap{{Oldest: mids[5]}}) {
			t.Errorf("the client is told %v", got)
		}
	})
}

// A read that fails is tried again; meanwhile the session is held.
func TestResumeOutlastsTheStore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 3)
		r.msgs.set(func(op string) error { return errDown }, nil)
		sess, sock := r.resume("k", 0)
		time.Sleep(20 * time.Second)
		sess.beat()
		if got, want := sock.text(), strings.Repeat(string(wire.Accepted), 2); got != want {
			t.Errorf("while the store is away the client got %q, want %q", got, want)
		}
		r.msgs.set(nil, nil)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, numbers(1, 3)...)
		r.mustPush("k", "4", true)
		synctest.Wait()
		wantBodies(t, sock, numbers(1, 4)...)
	})
}

// One that goes while its read fails leaves nothing behind, and another one is
// not held up by it.
func TestResumeEndsWhileTheStoreIsAway(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.set(func(op string) error { return errDown }, nil)
		_, gone := r.resume("k", 0)
		_, stays := r.join("k", nil)
		time.Sleep(time.Second)
		gone.Close()
		time.Sleep(5 * time.Second)
		r.msgs.set(nil, nil)
		time.Sleep(5 * time.Second)
		r.mustPush("k", "1", false)
		synctest.Wait()
		wantBodies(t, stays, "1")
	})
}

func TestResumeTellsAGap(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.most = 5
		mids := r.store("k", 1, 10) // 6 to 10 are kept
		time.Sleep(time.Minute)
		for _, tt := range []struct {
			name string
			mid  int64
			gap  []wire.Gap
			want []string
		}{
			{"nothing was seen before", 0, nil, numbers(6, 10)},
			{"some are gone", mids[2], []wire.Gap{{From: mids[2], Oldest: mids[5]}}, append([]string{"gap"}, numbers(6, 10)...)},
			{"the last one that is gone was seen", mids[4], nil, numbers(6, 10)},
			{"all that are gone were seen", mids[7], nil, numbers(9, 10)},
			{"a mid of a message that was not stored", mids[2] + 80, []wire.Gap{{From: mids[2] + 80, Oldest: mids[5]}}, append([]string{"gap"}, numbers(6, 10)...)},
		} {
			_, sock := r.resume("k", tt.mid)
			synctest.Wait()
			all := sock.messages(t)
			if got := bodies(all); !slices.Equal(got, tt.want) || !slices.Equal(gapsOf(all), tt.gap) {
				t.Errorf("%s: received %v with gaps %v, want %v with %v", tt.name, got, gapsOf(all), tt.want, tt.gap)
			}
		}
		_, old := r.live("k")
		if got := old.messages(t); len(got) != 0 {
			t.Errorf("a client that gave no mid got %v", bodies(got))
		}
		if n := r.stats.gaps.Load(); n != 2 {
			t.Errorf("%d gaps are counted, want 2", n)
		}
		// And where none is left.
		key := r.msgs.key("k")
		key.stored = nil
		_, sock := r.resume("k", mids[1])
		synctest.Wait()
		if got := gapsOf(sock.messages(t)); !slices.Equal(got, []wire.Gap{{From: mids[1]}}) {
			t.Errorf("with none left the client is told %v", got)
		}
	})
}

// In the middle of a session, too: somebody else stored more than are kept.
func TestGapInTheMiddleOfASession(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.most = 5
		_, resumes := r.resume("k", 0)
		_, fetches := r.live("k")
		first := r.mustPush("k", "1", true)
		mids := r.store("k", 2, 10)
		r.mustPush("k", "11", true)
		synctest.Wait()
		wantBodies(t, resumes, append([]string{"1", "gap"}, numbers(7, 11)...)...)
		wantBodies(t, fetches, append([]string{"1"}, numbers(7, 11)...)...)
		if got := gapsOf(resumes.messages(t)); !slices.Equal(got, []wire.Gap{{From: first, Oldest: mids[5]}}) {
			t.Errorf("the client is told %v", got)
		}
	})
}

// One that was about to catch up when others were told of a gap learns from its
// own read whether it has one.
func TestGapWhileHeld(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.most = 5
		_, live := r.resume("k", 0)
		first := r.mustPush("k", "1", true)
		var slow atomic.Bool
		slow.Store(true)
		r.msgs.set(nil, func(op string) error {
			if op == "read" && slow.Load() {
				time.Sleep(time.Second)
			}
			return nil
		})
		_, held := r.resume("k", first) // reads that there is nothing more
		time.Sleep(100 * time.Millisecond)
		slow.Store(false)
		r.store("k", 2, 10)
		r.mustPush("k", "11", true)
		time.Sleep(2 * time.Second)
		want := append([]string{"gap"}, numbers(7, 11)...)
		wantBodies(t, live, append([]string{"1"}, want...)...)
		wantBodies(t, held, want...)
	})
}

// A stored message that turns up below what the client has seen cannot be sent
// any more, and that is told.
func TestOvertakenIsToldAsAGap(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 1)
		sess, sock := r.resume("k", 0)
		synctest.Wait()
		last := sess.upto
		sess.channel.post(again(func(c *channel) {
			c.given += mid.Second // as if it had sent many that are not stored
		}))
		r.mustPush("k", "2", false)
		r.msgs.mu.Lock()
		k := r.msgs.key("k")
		k.last += 80
		k.stored = append(k.stored, peer.Stored{Msg: []byte("3"), Mid: k.last, ExpireAt: 1 << 40})
		m := k.last
		r.msgs.mu.Unlock()
		v := &Service{r.Server}
		if err := v.Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: "k", Mid: m}}}, &peer.SyncReply{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "1", "2", "gap")
		if got := gapsOf(sock.messages(t)); !slices.Equal(got, []wire.Gap{{From: last}}) {
			t.Errorf("the client is told %v, want from %d", got, last)
		}
		if !sock.shut {
			t.Error("the session goes on")
		}
	})
}

// again runs a step in a turn.
type again func(c *channel)

func (f again) handle(c *channel) { f(c) }

// A client's mid raises those that it is sent, unless it is from the future.
func TestResumeRaisesMids(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ahead  time.Duration
		raises bool
	}{
		{"of a little while ago", -time.Minute, true},
		{"of a daemon whose clock is ahead", 9 * time.Second, true},
		{"from the future", 11 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				seen := mid.Of(time.Now().Add(tt.ahead))
				_, sock := r.resume("k", seen)
				synctest.Wait()
				m := r.mustPush("k", "1", false)
				stored := r.mustPush("k", "2", true)
				synctest.Wait()
				if (m > seen) != tt.raises || (stored > seen) != tt.raises {
					t.Errorf("mids %d and %d after %d; above it: want %v", m, stored, seen, tt.raises)
				}
				wantBodies(t, sock, "1", "2")
			})
		})
	}
	// One that the store has given is none from the future, whatever the clock.
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.msgs.now = func() time.Time { return time.Now().Add(20 * time.Second) }
		seen := r.store("k", 1, 1)[0]
		_, sock := r.resume("k", seen)
		synctest.Wait()
		if m := r.mustPush("k", "2", false); m <= seen {
			t.Errorf("mid %d after %d", m, seen)
		}
		wantBodies(t, sock, "2")
	})
}

// slowConn takes nothing at once, and 100 bytes a millisecond otherwise.
type slowConn struct{ *fakeSocket }

func (s slowConn) TryWrite([]byte) (int, error) { return 0, nil }
func (s slowConn) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * 10 * time.Microsecond)
	return s.fakeSocket.Write(b)
}

// However much a client has missed and however slowly it reads, it gets all of
// it, in order, and answers to its heartbeats in between.
func TestResumeGoesAsFastAsTheClientReads(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config func(*Config)
		size   int
	}{
		{"many", func(c *Config) { c.Channel.MsgBuf = 8 }, 100},
		{"large", func(c *Config) { c.Outbuf.Bytes = 64 << 10 }, 50 << 10},
		{"larger than an outbox", func(c *Config) { c.Outbuf.Bytes = 64 << 10 }, 100 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.config, func(t *testing.T, r *rig) {
				const n = 40
				var want []string
				for i := range n {
					want = append(want, fmt.Sprintf(`"%d%s"`, i, strings.Repeat("m", tt.size)))
				}
				for i, body := range want[:n/2] {
					r.msgs.direct("k", body, fmt.Sprint("a", i))
				}
				sock := slowConn{newFakeSocket()}
				sess := r.connect("k", 0, sock)
				for i, body := range want[n/2:] {
					if res := r.push("k", body, true); res.Code != peer.OK {
						t.Fatalf("push %d: code %d", i, res.Code)
					}
					time.Sleep(time.Duration(tt.size) * 5 * time.Microsecond)
					if i%10 == 0 {
						sess.beat()
					}
				}
				time.Sleep(2 * n * time.Duration(tt.size) * 10 * time.Microsecond)
				all := sock.messages(t)
				if got := bodies(all); !slices.Equal(got, want) {
					t.Errorf("received %d messages, want %d; ended: %v %s", len(got), n, sess.ended(), sess.reason())
				}
				if most := r.stats.ended[endQueueFull].Load(); most != 0 {
					t.Errorf("%d sessions ended for a full outbox", most)
				}
			})
		})
	}
}

// One that takes nothing at all ends, catching up or not.
func TestResumeStalled(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 20)
		sock := newFakeSocket()
		sock.take, sock.stalled = func(int) int { return 0 }, true
		sess := r.connect("k", 0, sock)
		time.Sleep(30 * time.Second)
		if !sess.ended() || sess.reason() != endStalled {
			t.Errorf("ended %v, reason %s, want stalled", sess.ended(), sess.reason())
		}
	})
}

// A former owner is asked how far it is before anything that is not stored gets
// a mid, also where a read for a session would tell the base.
func TestResumeAsksFormerOwners(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		for range 5 {
			m.from.mustPush("k", `"x"`, false)
		}
		waited := m.waits.messages(t)
		counter := waited[len(waited)-1].Mid
		_, here := m.to.resume("k", 0)
		synctest.Wait()
		wantBodies(t, here, `"before"`)
		if got := m.to.mustPush("k", `"first"`, false); got <= counter {
			t.Errorf("mid %d is not above %d, which others have seen", got, counter)
		}
	})
}

// The store may hold what this comet has saved and not heard of yet.
func TestResumeDuringASave(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 2)
		r.msgs.set(nil, func(op string) error {
			if op == "save" {
				time.Sleep(time.Second)
			}
			return nil
		})
		done := make(chan peer.PushResult)
		go func() { done <- r.push("k", "3", true) }()
		time.Sleep(100 * time.Millisecond)
		_, sock := r.resume("k", 0)
		synctest.Wait()
		if res := <-done; res.Code != peer.OK {
			t.Errorf("code %d", res.Code)
		}
		r.mustPush("k", "4", false)
		synctest.Wait()
		wantBodies(t, sock, numbers(1, 4)...)
	})
}

// What was saved though nobody was told so is sent once.
func TestResumeAfterALostAnswer(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.resume("k", 0)
		synctest.Wait()
		r.msgs.set(nil, func(op string) error {
			if op == "save" {
				return errors.New("lost")
			}
			return nil
		})
		if res := r.push("k", "1", true); res.Code != peer.Failed {
			t.Errorf("code %d, want Failed", res.Code)
		}
		r.msgs.set(nil, nil)
		r.mustPush("k", "2", true)
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
	})
}
