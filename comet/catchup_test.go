package comet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// failing makes calls named op take d and fail.
func failing(op string, d time.Duration) func(string) error {
	return hookOn(op, func() error {
		time.Sleep(d)
		return errDown
	})
}

// pushSoon pushes from another goroutine.
func (r *rig) pushSoon(key, body string, expire bool) {
	r.tasks.Go(func() { r.push(key, body, expire) })
}

// lateConn takes nothing at once, and a while for whatever is written.
type lateConn struct {
	*fakeSocket
	d time.Duration
}

func (s lateConn) TryWrite([]byte) (int, error) { return 0, nil }
func (s lateConn) Write(b []byte) (int, error) {
	time.Sleep(s.d)
	return s.fakeSocket.Write(b)
}

// narrow leaves room for one message in an outbox.
func narrow(c *Config) { c.Channel.MsgBuf = 2 }

// One that reads slowly keeps nobody from the base of the channel, which its own
// read could not tell.
func TestSlowReaderKeepsNobodyFromTheBase(t *testing.T) {
	bubble(t, narrow, func(t *testing.T, r *rig) {
		r.store("k", 1, 5)
		r.msgs.set(failing("save", time.Second), nil)
		r.pushSoon("k", "6", true)
		synctest.Wait()
		slow := lateConn{newFakeSocket(), 8 * time.Second}
		r.connect("k", 0, slow)
		_, sock := r.join("k", nil)
		time.Sleep(3 * time.Second)
		r.mustPush("k", "7", false)
		synctest.Wait()
		wantBodies(t, sock, append(numbers(1, 5), "7")...)
		time.Sleep(time.Minute)
		wantBodies(t, slow.fakeSocket, "1", "2", "3", "4", "5", "7")
	})
}

// What expires on its way from the store, or while it waits, is not sent.
func TestReadMessagesExpireOnTheirWay(t *testing.T) {
	keep := func(r *rig, body string, d time.Duration) int64 {
		r.msgs.mu.Lock()
		defer r.msgs.mu.Unlock()
		return r.msgs.save(peer.SaveItem{Key: "k", Nonce: body, ExpireAt: time.Now().Add(d).Unix(), Floor: mid.Unknown}, []byte(body)).Mid
	}
	t.Run("to one that resumes", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, r *rig) {
			keep(r, "1", time.Second)
			keep(r, "2", time.Minute)
			r.msgs.set(nil, hookOn("read", func() error { time.Sleep(1500 * time.Millisecond); return nil }))
			_, sock := r.resume("k", 0)
			time.Sleep(2 * time.Second)
			wantBodies(t, sock, "2")
		})
	})
	t.Run("to one that is held", func(t *testing.T) {
		bubble(t, narrow, func(t *testing.T, r *rig) {
			r.store("k", 0, 0)
			r.live("k")
			slow := lateConn{newFakeSocket(), 8 * time.Second}
			r.connect("k", 0, slow)
			synctest.Wait()
			keep(r, "1", 5*time.Second)
			r.tell("k", keep(r, "2", time.Hour)) // both are filled in, and wait
			time.Sleep(time.Minute)
			wantBodies(t, slow.fakeSocket, "0", "2")
		})
	})
}

// A mid that nobody can have made counts as the newest one: what is stored from
// then on comes, and is told of where it is gone, however it comes.
func TestResumeFromTheFuture(t *testing.T) {
	for _, ahead := range []int64{mid.Of(time.Unix(1<<33, 0)), 1<<63 - 1} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			bubble(t, func(c *Config) { c.Channel.MsgBuf = 4 }, func(t *testing.T, r *rig) {
				r.msgs.most = 8
				last := r.store("k", 1, 3)[2]
				_, live := r.resume("k", ahead)
				synctest.Wait()
				direct := r.store("k", 4, 20) // 12 to 20 are kept when 21 is
				m := r.mustPush("k", "21", true)
				if clock := mid.Of(time.Now()); m > clock+mid.Second {
					t.Errorf("mid %d, the clock %d", m, clock)
				}
				synctest.Wait()
				wantBodies(t, live, append([]string{"gap"}, numbers(14, 21)...)...)
				if got := gapsOf(live.messages(t)); !slices.Equal(got, []wire.Gap{{From: last, Oldest: direct[14-4]}}) {
					t.Errorf("told %v, want from %d", got, last)
				}
				// While it is held, more than may wait.
				r.msgs.set(nil, hookOn("read", func() error { time.Sleep(time.Second); return nil }))
				_, held := r.resume("k", ahead)
				time.Sleep(1100 * time.Millisecond) // it has read
				r.pushSoon("k", "22", true)
				time.Sleep(time.Second)
				wantBodies(t, held, "22")
				_, held = r.resume("k", ahead)
				time.Sleep(100 * time.Millisecond)
				for _, body := range numbers(23, 28) {
					r.mustPush("k", body, true)
				}
				time.Sleep(5 * time.Second)
				wantBodies(t, held, numbers(23, 28)...)
			})
		})
	}
}

// What waits for sessions that are held counts as what waits in outboxes does.
func TestHeldMessagesCount(t *testing.T) {
	bubble(t, func(c *Config) { c.Outbuf.Total = 1 << 20; c.Outbuf.Bytes = 1 << 20 }, func(t *testing.T, r *rig) {
		r.msgs.set(nil, hookOn("read", func() error { time.Sleep(1900 * time.Millisecond); return nil }))
		body := `"` + strings.Repeat("m", 200<<10) + `"`
		var socks []*fakeSocket
		for i := range 4 {
			_, sock := r.resume(fmt.Sprint("k", i), 0)
			socks = append(socks, sock)
		}
		time.Sleep(time.Second)
		most := int64(0)
		for range 5 { // the last of each key do not fit, and are read again
			for i := range 4 {
				r.mustPush(fmt.Sprint("k", i), body, true)
				most = max(most, r.stats.queued.Load())
			}
		}
		if most < 1<<20 || most > 1<<20+210<<10 {
			t.Errorf("%d bytes waited, want one message more than %d", most, 1<<20)
		}
		time.Sleep(10 * time.Second)
		for _, sock := range socks {
			wantBodies(t, sock, slices.Repeat([]string{body}, 5)...)
		}
		if n := r.stats.queued.Load(); n != 0 {
			t.Errorf("%d bytes stay counted", n)
		}
	})
}

// A fill that fails ends the sessions that may have been sent later ones. One that
// is held has not, and reads what it needs when the store is back.
func TestFillFailsWhileHeld(t *testing.T) {
	bubble(t, func(c *Config) { c.Legacy.Hold = config.Duration(5 * time.Second) }, func(t *testing.T, r *rig) {
		live, _ := r.resume("k", 0)
		synctest.Wait()
		r.msgs.set(failing("read", 0), nil)
		resumes, sock := r.resume("k", 0)
		fetches, sock2 := r.join("k", nil)
		r.mustPush("k", "1", false)
		r.tell("k", r.store("k", 2, 2)[0])
		time.Sleep(4 * time.Second)
		if !live.ended() || live.reason() != endFillFailed {
			t.Error("the live session goes on")
		}
		if resumes.ended() || fetches.ended() { // neither is live yet
			t.Error("a session that is held has ended")
		}
		r.msgs.set(nil, nil)
		time.Sleep(5 * time.Second)
		r.mustPush("k", "3", true)
		wantBodies(t, sock, "2", "3")
		wantBodies(t, sock2, "2", "3")
	})
}

// However a session ends, and whatever it waits for, nothing stays behind.
func TestSessionsEndInEachState(t *testing.T) {
	stuck := func() *fakeSocket {
		sock := newFakeSocket()
		sock.take, sock.stalled = func(int) int { return 0 }, true
		return sock
	}
	hang := hookOn("read", func() error { time.Sleep(time.Minute); return errDown })
	states := map[string]func(r *rig) (*session, *fakeSocket){
		"fetches, without a base": func(r *rig) (*session, *fakeSocket) { r.msgs.set(hang, nil); return r.join("k", nil) },
		"fetches, held":           func(r *rig) (*session, *fakeSocket) { return r.join("k", nil) },
		"catches up":              func(r *rig) (*session, *fakeSocket) { r.msgs.set(hang, nil); return r.resume("k", 0) },
		"tries again":             func(r *rig) (*session, *fakeSocket) { r.msgs.set(failing("read", 0), nil); return r.resume("k", 0) },
		"live":                    func(r *rig) (*session, *fakeSocket) { return r.resume("k", 0) },
		"waits for its outbox": func(r *rig) (*session, *fakeSocket) {
			r.store("k", 1, 5)
			sock := stuck()
			return r.connect("k", 0, sock), sock
		},
		"waits for its outbox, and others for it": func(r *rig) (*session, *fakeSocket) {
			sock := stuck()
			s := r.connect("k", 0, sock)
			r.mustPush("k", "1", true)
			r.mustPush("k", "2", false)
			return s, sock
		},
		"missed some": func(r *rig) (*session, *fakeSocket) {
			r.msgs.set(nil, hookOn("read", func() error { time.Sleep(time.Second); return nil }))
			s, sock := r.resume("k", 0)
			for i := range 200 {
				r.mustPush("k", fmt.Sprint(i), true)
			}
			return s, sock
		},
	}
	ends := map[string]func(r *rig, s *session, sock *fakeSocket){
		"by its client": func(_ *rig, _ *session, sock *fakeSocket) { sock.Close() },
		"at once":       func(_ *rig, s *session, _ *fakeSocket) { s.end(endClosed) },
		"sent away":     func(_ *rig, s *session, _ *fakeSocket) { s.sendAway(endNotOwner) },
		"overtaken": func(_ *rig, s *session, _ *fakeSocket) {
			s.channel.hold()
			s.channel.post(again(func(c *channel) { c.leaving++; s.overtaken() }))
		},
	}
	for state, begin := range states {
		for how, end := range ends {
			t.Run(state+", ended "+how, func(t *testing.T) {
				bubble(t, nil, func(t *testing.T, r *rig) {
					s, sock := begin(r)
					synctest.Wait()
					end(r, s, sock)
					time.Sleep(time.Second)
					if !s.ended() {
						t.Error("it goes on")
					}
					r.msgs.set(nil, nil)
					if sock.shut { // as a client does
						sock.Close()
					}
				}) // close looks for what stays behind
			})
		}
	}
}

// A storm of clients waits for its turn at the store without losing it: each is
// read once, however long that takes.
func TestReadsWaitForTheirTurn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		const clients = 640
		var calls, now, most atomic.Int64
		r.msgs.set(hookOn("read", func() error {
			calls.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			return nil
		}), hookOn("read", func() error {
			time.Sleep(500 * time.Millisecond)
			now.Add(-1)
			return nil
		}))
		var socks []*fakeSocket
		for i := range clients {
			key := fmt.Sprint("k", i)
			r.msgs.direct(key, "1", key)
			_, sock := r.resume(key, 0)
			socks = append(socks, sock)
		}
		time.Sleep(10 * time.Second)
		for _, sock := range socks {
			wantBodies(t, sock, "1")
		}
		const least = clients / laneReadItems
		if n := calls.Load(); n > least+2*laneReads {
			t.Errorf("%d reads of %d keys each for %d clients, want %d and a few", n, laneReadItems, clients, least)
		}
		if n := most.Load(); n > laneReads {
			t.Errorf("%d reads at once from one shard, want %d", n, laneReads)
		}
	})
}

// Those who come before the shards of the store are known are read in the lanes
// of these, not before.
func TestReadsWaitForTheShards(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.lanes.known.Store(false)
		var calls atomic.Int64
		r.msgs.set(hookOn("read", func() error { calls.Add(1); return nil }), nil)
		r.store("k", 1, 2)
		_, sock := r.resume("k", 0)
		time.Sleep(10 * time.Second)
		if n := calls.Load(); n != 0 {
			t.Errorf("%d reads before the shards are known", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.tasks.Go(func() { r.lanes.follow(ctx) })
		time.Sleep(3 * time.Second)
		wantBodies(t, sock, "1", "2")
		r.lanes.mu.Lock()
		for shard := range r.lanes.lanes {
			if shard != "a" && shard != "b" {
				t.Errorf("there is a lane for shard %q", shard)
			}
		}
		r.lanes.mu.Unlock()
		cancel()
	})
}

// A mid that the store gave by a clock far ahead counts as sent: what was given a
// smaller one meanwhile does not follow it.
func TestResumeAheadOfWhatWaits(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, live := r.live("k")
		r.msgs.now = func() time.Time { return time.Now().Add(20 * time.Second) }
		seen := r.store("k", 1, 1)[0] // by somebody else
		r.msgs.set(nil, hookOn("read", func() error { time.Sleep(time.Second); return nil }))
		_, sock := r.resume("k", seen)
		time.Sleep(100 * time.Millisecond)
		if m := r.mustPush("k", "2", false); m >= seen {
			t.Fatalf("mid %d is not below %d", m, seen)
		}
		time.Sleep(3 * time.Second)
		r.mustPush("k", "3", false)
		synctest.Wait()
		wantBodies(t, live, "2", "1", "3")
		wantBodies(t, sock, "3")
	})
}

// What somebody else stores while a read is on its way back, and a save then tells
// of, is read as well.
func TestResumeReadsWhatItsFirstReadWasTooEarlyFor(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 1)
		r.msgs.set(nil, hookOn("read", func() error { time.Sleep(time.Second); return nil }))
		_, sock := r.resume("k", 0)
		time.Sleep(100 * time.Millisecond)
		r.store("k", 2, 2)
		r.mustPush("k", "3", true)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "1", "2", "3")
	})
}

// Where the newest message is gone, deleted or expired, there is nothing more to
// read.
func TestResumeReadsOnceWhereTheNewestIsGone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store("k", 1, 2)
		key := r.msgs.key("k")
		key.stored = key.stored[:1]
		var reads atomic.Int64
		r.msgs.set(hookOn("read", func() error { reads.Add(1); return nil }), nil)
		_, sock := r.resume("k", 0)
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "1")
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads, want 1", n)
		}
	})
}

// A stored message with a mid far ahead of the clock never goes to a socket, and
// a gap does not name it.
func TestResumeSendsNoForeignMid(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		mids := r.store("k", 1, 3)
		key := r.msgs.key("k")
		far := mid.Of(time.Now().Add(2 * time.Hour))
		key.stored = append(key.stored, peer.Stored{Msg: []byte(`"far"`), Mid: far, ExpireAt: 1 << 40})
		_, sock := r.resume("k", mids[0])
		synctest.Wait()
		wantBodies(t, sock, "2", "3")
		r.mustPush("k", "4", true)
		synctest.Wait()
		wantBodies(t, sock, "2", "3", "4")
		key.stored, key.trimmed = key.stored[3:4], mids[2]
		_, late := r.resume("k", mids[0])
		synctest.Wait()
		if got := gapsOf(late.messages(t)); !slices.Equal(got, []wire.Gap{{From: mids[0]}}) || len(late.messages(t)) != 1 {
			t.Errorf("told %v, want from %d to nothing", got, mids[0])
		}
	})
}
