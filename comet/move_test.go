package comet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// caller calls the service of a comet in this process.
type caller struct {
	service *Service
	fail    func(method string) error // nil: nothing fails
	hangs   atomic.Bool               // no call is answered

	mu    sync.Mutex
	calls []string
	done  []peer.DoneArgs
}

func (c *caller) Addr() string { return c.service.s.info.Addr() }

func (c *caller) Call(ctx context.Context, method string, args, reply any) error {
	c.mu.Lock()
	c.calls = append(c.calls, method)
	if a, ok := args.(*peer.DoneArgs); ok {
		c.done = append(c.done, *a)
	}
	c.mu.Unlock()
	if c.hangs.Load() {
		<-ctx.Done()
		return rpcnet.ErrLost
	}
	if c.fail != nil {
		if err := c.fail(method); err != nil {
			return err
		}
	}
	switch method {
	case "CometRPC.Forward":
		return c.service.Forward(args.(*peer.ForwardArgs), reply.(*peer.ForwardReply))
	case "CometRPC.Sync":
		return c.service.Sync(args.(*peer.SyncArgs), reply.(*peer.SyncReply))
	case "CometRPC.Done":
		return c.service.Done(args.(*peer.DoneArgs), reply.(*int))
	}
	return fmt.Errorf("no method %s", method)
}

// move is two comets of one cluster: a key has gone from one to the other, and
// the former owner still has a session of it.
type move struct {
	from, to     *rig
	fromTo       *caller // calls of from to to
	toFrom       *caller // calls of to to from
	waits        *fakeSocket
	waitsSession *session
}

// moving runs f with keys on their way.
func moving(t *testing.T, f func(*testing.T, *move)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &move{from: newRig(t, nil), to: newRig(t, nil)}
		m.to.msgs = m.from.msgs // one store
		m.to.lanes.messages = m.from.msgs
		m.toFrom = &caller{service: &Service{m.from.Server}}
		m.fromTo = &caller{service: &Service{m.to.Server}}
		m.waitsSession, m.waits = m.from.live("k")
		m.from.mustPush("k", `"before"`, true)
		m.from.mustPush("k", `"given"`, false)
		m.to.ring.former = []*peer.Comet{peer.NewComet(m.toFrom)}
		m.from.ring.others = []*peer.Comet{peer.NewComet(m.fromTo)}
		f(t, m)
		m.to.close()
		m.from.close()
	})
}

func TestFormerOwnersSessionsMissNothing(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		var want []string
		for i := range 6 {
			m.to.mustPush("k", fmt.Sprint(i), i%2 == 0)
			want = append(want, fmt.Sprint(i))
			synctest.Wait()
		}
		wantBodies(t, m.waits, append([]string{`"before"`, `"given"`}, want...)...)
		wantBodies(t, here, want...)
		stored := make(map[string]int64)
		for _, g := range m.waits.messages(t) {
			stored[string(g.Msg)] = g.Mid
		}
		for i, g := range here.messages(t) {
			if i%2 == 0 && stored[string(g.Msg)] != g.Mid {
				t.Errorf("stored message %s has mid %d here and %d there", g.Msg, g.Mid, stored[string(g.Msg)])
			}
		}
	})
}

func TestMidsGoOnAboveThoseOfTheFormerOwner(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		for range 5 {
			m.from.mustPush("k", `"x"`, false)
		}
		all := m.waits.messages(t)
		counter := all[len(all)-1].Mid // of the client that comes over
		_, here := m.to.live("k")
		if got := m.to.mustPush("k", `"first"`, false); got <= counter {
			t.Errorf("mid %d is not above %d, which the client has seen", got, counter)
		}
		wantBodies(t, here, `"first"`)
	})
	// The same once the former owner is done, and is asked no more.
	moving(t, func(t *testing.T, m *move) {
		for range 5 {
			m.from.mustPush("k", `"x"`, false)
		}
		all := m.waits.messages(t)
		counter := all[len(all)-1].Mid
		m.from.ring.move("k")
		m.waits.Close()
		synctest.Wait()
		m.from.tellDone(t.Context(), nil, 7, 3)
		m.to.ring.former = nil
		m.to.live("k")
		if got := m.to.mustPush("k", `"first"`, false); got <= counter {
			t.Errorf("mid %d is not above %d, which the client has seen", got, counter)
		}
	})
}

func TestFormerOwnerFetchesWhatItWasNotHanded(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		lost := 0
		m.toFrom.fail = func(method string) error {
			if lost++; lost <= 2 {
				return rpcnet.ErrLost
			}
			return nil
		}
		for i := range 3 {
			m.to.mustPush("k", fmt.Sprint(i), true)
			synctest.Wait()
		}
		wantBodies(t, m.waits, `"before"`, `"given"`, "0", "1", "2")
	})
}

func TestFormerOwnerThatHangsDelaysOnlyWhatIsNotStored(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		m.toFrom.hangs.Store(true)
		begun := time.Now()
		m.to.mustPush("k", `"stored"`, true)
		if d := time.Since(begun); d != 0 {
			t.Errorf("a stored push waited %v for a former owner", d)
		}
		m.to.mustPush("k", `"not stored"`, false)
		if d := time.Since(begun); d > forwardTime {
			t.Errorf("a push that is not stored waited %v, want %v at most", d, forwardTime)
		}
		wantBodies(t, here, `"stored"`, `"not stored"`)
	})
}

func TestStoredPushDoesNotWaitBehindOneThatIsHandedOn(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		m.toFrom.hangs.Store(true)
		first := make(chan peer.PushResult, 1)
		go func() { first <- m.to.push("k", `"not stored"`, false) }()
		synctest.Wait() // it is on its way to the former owner
		begun := time.Now()
		m.to.mustPush("k", `"stored"`, true)
		if d := time.Since(begun); d != 0 {
			t.Errorf("a stored push waited %v behind one that is not", d)
		}
		if res := <-first; res.Code != peer.OK {
			t.Errorf("the push that is not stored: code %d", res.Code)
		}
		wantBodies(t, here, `"stored"`, `"not stored"`)
	})
}

// Only who says that nobody listens is gone. A dial in vain may be one to a comet
// that is frozen for a moment, or the trouble of this machine.
func TestFormerOwnerThatIsGoneIsForgotten(t *testing.T) {
	for _, tt := range []struct {
		err  error
		gone bool
	}{
		{fmt.Errorf("%w: %w", rpcnet.ErrNotSent, syscall.ECONNREFUSED), true},
		{peer.ErrNoMethod, true},
		{fmt.Errorf("%w: %w", rpcnet.ErrNotSent, context.DeadlineExceeded), false},
		{fmt.Errorf("%w: %w", rpcnet.ErrNotSent, syscall.EMFILE), false},
		{fmt.Errorf("%w: %w", rpcnet.ErrLost, syscall.ECONNREFUSED), false},
		{errors.New("x"), false},
	} {
		moving(t, func(t *testing.T, m *move) {
			m.toFrom.fail = func(string) error { return tt.err }
			m.to.mustPush("k", "1", true)
			synctest.Wait()
			if gone := len(m.to.ring.Former("k")) == 0; gone != tt.gone {
				t.Errorf("%v: forgotten = %v, want %v", tt.err, gone, tt.gone)
			}
		})
	}
}

// A former owner that is frozen for long is not waited for any more, but told;
// once it answers it is waited for again.
func TestSilentFormerOwnerIsNotWaitedFor(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		took := func(body string) time.Duration {
			begun := time.Now()
			m.to.mustPush("k", body, false)
			return time.Since(begun)
		}
		m.toFrom.hangs.Store(true)
		var want []string
		for i := range 4 {
			if d := took(fmt.Sprint(i)); d != forwardTime {
				t.Errorf("push %d took %v, want %v", i, d, forwardTime)
			}
			want = append(want, fmt.Sprint(i))
		}
		if d := took("4"); d != 0 {
			t.Errorf("a push waited %v for a former owner that is silent", d)
		}
		synctest.Wait()
		m.toFrom.hangs.Store(false)
		time.Sleep(forwardTime) // the fifth is still on its way until then
		if d := took("5"); d != 0 {
			t.Errorf("a push took %v", d)
		}
		synctest.Wait()
		m.from.mustPush("k", `"own"`, false) // which raises what it has given
		m.to.mustPush("k", "6", false)
		wantBodies(t, here, append(want, "4", "5", "6")...)
		wantBodies(t, m.waits, `"before"`, `"given"`, "5", `"own"`, "6")
		m.toFrom.hangs.Store(true)
		if d := took("7"); d != forwardTime {
			t.Errorf("the first push after an answer took %v, want %v", d, forwardTime)
		}
		time.Sleep(10 * silentTime)
		if d := took("8"); d != forwardTime {
			t.Errorf("a push long after the last one took %v, want %v: two are no row", d, forwardTime)
		}
	})
}

// Comets come and go; the ways to them must not stay.
func TestWaysToFormerOwnersAreLetGo(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		for range 50 {
			m.to.ring.former = []*peer.Comet{peer.NewComet(m.toFrom)}
			m.to.mustPush("k", "1", true)
			time.Sleep(wayIdle / 2)
		}
		if n := len(m.to.env.forwards.ways); n > 3 {
			t.Errorf("%d ways are kept, want those of the last minute", n)
		}
	})
}

func TestWordOfASaveGoesOnToTheFormerOwner(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		stored := m.to.msgs.direct("k", "1", "web").Mid // by a web that reached neither
		var reply peer.SyncReply
		v := &Service{m.to.Server}
		if err := v.Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: "k", Mid: stored}}}, &reply); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantBodies(t, here, "1")
		wantBodies(t, m.waits, `"before"`, `"given"`, "1")
	})
}

func TestSaveThatEndsAfterTheMoveIsToldToTheNewOwner(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		m.from.msgs.set(nil, func(op string) error {
			if op == "save" {
				m.from.ring.move("k") // while the save is under way
			}
			return nil
		})
		m.to.ring.former = nil
		_, here := m.to.live("k")
		fails := 1
		m.fromTo.fail = func(string) error {
			if fails--; fails >= 0 {
				return rpcnet.ErrLost
			}
			return nil
		}
		m.from.mustPush("k", `"late"`, true)
		m.from.msgs.set(nil, nil)
		synctest.Wait()
		m.from.tasks.Wait()
		synctest.Wait()
		wantBodies(t, here, `"late"`)
	})
}

// floorOfNext pushes to the new owner, and returns the floor that the store was told.
func (m *move) floorOfNext(t *testing.T) int64 {
	t.Helper()
	var floor int64
	m.to.lanes.messages = floorSpy{m.to.msgs, &floor}
	m.to.mustPush("k", `"spied on"`, true)
	m.to.lanes.messages = m.to.msgs
	return floor
}

// floorSpy notes the floor of each save.
type floorSpy struct {
	*fakeMessages
	floor *int64
}

func (s floorSpy) Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error) {
	*s.floor = args.Items[0].Floor
	return s.fakeMessages.Save(ctx, args)
}

// A stored message has to lie above all that a former owner gave. Where that is
// not known for sure, the store leaves room for it, once.
func TestStoredMessageLeavesRoomForTheFormerOwners(t *testing.T) {
	room := func(t *testing.T, m *move, when string, want bool) {
		t.Helper()
		if floor := m.floorOfNext(t); (floor < 0) != want {
			t.Errorf("%s: floor %d, want room for others: %v", when, floor, want)
		}
	}
	moving(t, func(t *testing.T, m *move) {
		m.to.live("k")
		room(t, m, "the former owner has answered", false)
		m.to.ring.move("foreign")
		room(t, m, "in another ring", true)
		room(t, m, "above what was given before", false)
		m.toFrom.hangs.Store(true)
		go m.to.push("k", `"not stored"`, false)
		synctest.Wait()
		room(t, m, "a message is on its way to a former owner", true)
		time.Sleep(2 * forwardTime)
		room(t, m, "it was not answered", true)
		room(t, m, "above what it may have been given", false)
	})
	moving(t, func(t *testing.T, m *move) {
		m.toFrom.fail = func(string) error { return rpcnet.ErrLost }
		m.to.live("k")
		m.to.ring.former = nil // done, with a mark that came too late for this channel
		room(t, m, "a former owner that never answered", true)
	})
	moving(t, func(t *testing.T, m *move) {
		m.to.ring.former = nil
		m.to.live("k")
		room(t, m, "no former owner", false)
	})
}

// What the new owner hands on waits for a save that is under way at the former
// one, which may take the very mid that comes next, but not for long.
func TestHandedOnMessageWaitsForTheSaveOfTheFormerOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		save time.Duration
		want []string
	}{
		"in time":  {handedTime / 2, []string{`"before"`, `"given"`, `"late"`, `"not stored"`}},
		"too late": {handedTime * 2, []string{`"before"`, `"given"`, `"late"`}},
	} {
		t.Run(name, func(t *testing.T) {
			moving(t, func(t *testing.T, m *move) {
				_, here := m.to.live("k")
				m.from.msgs.now = func() time.Time { return time.Now().Add(-time.Minute) } // the store's clock gives no room
				slow := hookOn("save", func() error { time.Sleep(tt.save); return nil })
				m.from.msgs.set(slow, nil)
				go m.from.push("k", `"late"`, true) // the ring there is still the former one
				synctest.Wait()
				begun := time.Now()
				m.to.mustPush("k", `"not stored"`, false)
				if d := time.Since(begun); d != min(tt.save, handedTime) {
					t.Errorf("the push took %v, want %v", d, min(tt.save, handedTime))
				}
				time.Sleep(time.Second)
				m.from.msgs.set(nil, nil)
				if m.waitsSession.ended() {
					t.Errorf("the session ended: %v", m.waitsSession.reason())
				}
				wantBodies(t, m.waits, tt.want...)
				if all := here.messages(t); len(all) == 0 || string(all[0].Msg) != `"not stored"` {
					t.Errorf("the new owner's session has %s", bodies(all))
				}
			})
		})
	}
}

func TestForwardOfNonsense(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		results := m.from.forward(t.Context(), &peer.ForwardArgs{
			Bodies: []json.RawMessage{json.RawMessage("{\n}")},
			Items: []peer.ForwardItem{
				{Key: "k", Body: 0}, {Key: "k", Body: 5}, {Key: "k", Body: -7}, {Key: "k", Body: 0, Mid: 1 << 62},
				{Key: "nobody", Body: -1}, {Key: "k", Body: -1, Mid: -5},
			},
		})
		if len(results) != 6 {
			t.Errorf("%d results, want 6", len(results))
		}
		wantBodies(t, m.waits, `"before"`, `"given"`)
		var ret int
		far := mid.Of(time.Now()) + 2*3600*mid.Second
		if err := (&Service{m.to.Server}).Done(&peer.DoneArgs{High: far}, &ret); err != nil || m.to.env.table.highest() == far {
			t.Errorf("a mark far ahead was taken over: %v", err)
		}
	})
}

func TestHighMarksOfTheTable(t *testing.T) {
	r := newRig(t, nil)
	r.env.table.raise(800)
	if got := r.env.table.high("k"); got != 800 {
		t.Errorf("high = %d, want 800", got)
	}
	r.env.table.raise(80)
	if got := r.env.table.highest(); got != 800 {
		t.Errorf("highest = %d, want 800 still", got)
	}
	c := r.env.table.acquire("k", r.env.channel("k"))
	c.given = 880
	c.release(1)
	if got := r.env.table.high("k"); got != 880 || !slices.Contains([]int64{880}, r.env.table.highest()) {
		t.Errorf("high = %d, highest = %d, want 880", got, r.env.table.highest())
	}
}

// A former owner that heard last of the move has saved a push when a client had
// joined the new one. That looks when it hears that the former owner is done.
func TestWhatAFormerOwnerSavedIsLookedForWhenItIsDone(t *testing.T) {
	moving(t, func(t *testing.T, m *move) {
		_, here := m.to.live("k")
		_, gone := m.to.live("other")
		gone.Close()
		m.from.ring.others = nil // it does not know whom to tell
		m.from.mustPush("k", `"late"`, true)
		synctest.Wait()
		wantBodies(t, here)
		m.from.ring.others = []*peer.Comet{peer.NewComet(m.fromTo)}
		m.from.tellDone(t.Context(), nil, 7, 3)
		synctest.Wait()
		wantBodies(t, here, `"late"`)
	})
}
