package message

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
)

// fakeStore answers as it is told.
type fakeStore struct {
	store // nil: calls that no test expects panic
	err   atomic.Pointer[error]
	pings atomic.Int64
	saves atomic.Int64
	hold  chan struct{} // a save waits for it, unless nil
	seen  func([]item)
}

func (f *fakeStore) set(err error) { f.err.Store(&err) }

func (f *fakeStore) Ping(context.Context) error {
	f.pings.Add(1)
	return *f.err.Load()
}

func (f *fakeStore) Save(_ context.Context, items []item) []saved {
	f.saves.Add(1)
	if f.hold != nil {
		<-f.hold
	}
	if f.seen != nil {
		f.seen(items)
	}
	out := make([]saved, len(items))
	for i := range out {
		out[i].err = *f.err.Load()
		out[i].mid = int64(len(items[i].key))
	}
	return out
}

func (f *fakeStore) Read(_ context.Context, queries []query) []found {
	if f.hold != nil {
		<-f.hold
	}
	return make([]found, len(queries))
}

func newFake() *fakeStore {
	f := new(fakeStore)
	f.set(nil)
	return f
}

func saveOn(h *shard, items ...item) []saved {
	return newShards([]*shard{h}).save(context.Background(), items)
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := newShard("node1", 1, f)
		if err := saveOn(h, item{key: "k"})[0].err; !errors.Is(err, errUnavailable) || f.saves.Load() != 0 {
			t.Errorf("before it has answered: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.watch(ctx) }()
		synctest.Wait()
		if err := saveOn(h, item{key: "k"})[0].err; err != nil {
			t.Errorf("up: %v", err)
		}
		time.Sleep(10*shardCheck + time.Second)
		if n := f.pings.Swap(1); n != 11 {
			t.Errorf("%d pings without trouble, want one each %v", n, shardCheck)
		}

		// A refusal of the store is no reason to doubt it.
		f.set(errors.New("WRONGTYPE"))
		_ = saveOn(h, item{key: "k"})
		f.set(errMidTaken)
		_ = saveOn(h, item{key: "k"})
		time.Sleep(shardCheck / 2)
		if n := f.pings.Load(); n != 1 {
			t.Errorf("%d pings after refusals, want 1", n)
		}

		f.set(unavailable("node1", errors.New("i/o timeout")))
		_ = saveOn(h, item{key: "k"})
		time.Sleep(shardRest)
		synctest.Wait()
		if h.down() == nil {
			t.Fatal("still up after a call and a ping without an answer")
		}
		before := f.saves.Load()
		if err := saveOn(h, item{key: "k"})[0].err; !errors.Is(err, errUnavailable) || f.saves.Load() != before {
			t.Errorf("open breaker: %v, and %d calls came through", err, f.saves.Load()-before)
		}
		if n := f.pings.Load(); n > 4 {
			t.Errorf("%d pings already", n)
		}

		f.set(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if err := saveOn(h, item{key: "k"})[0].err; err != nil {
			t.Errorf("up again: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

// A store that hangs is found out while the first calls still wait.
func TestBreakerOpensForSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := newShard("node1", 1, f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.watch(ctx) }()
		synctest.Wait()
		f.hold = make(chan struct{})
		f.set(unavailable("node1", errors.New("i/o timeout")))
		go saveOn(h, item{key: "k"})
		time.Sleep(shardSlow - time.Millisecond)
		if h.down() != nil {
			t.Error("down already")
		}
		time.Sleep(2 * shardRest)
		if h.down() == nil {
			t.Error("still up")
		}
		close(f.hold)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

// A policy that changes under a running daemon is no reason to stop serving.
func TestEvictionAfterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := newShard("node1", 1, f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.watch(ctx) }()
		synctest.Wait()
		f.set(fmt.Errorf("%w: allkeys-lru", errSetup))
		h.note(errUnavailable)
		time.Sleep(time.Minute)
		if err := h.down(); err != nil {
			t.Errorf("down: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

// Without its replica a shard can be read; what is written fails at once.
func TestShardWithoutItsReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := newShard("node1", 1, f)
		s := newShards([]*shard{h})
		f.set(fmt.Errorf("%w: node1", errNoReplica))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.watch(ctx) }()
		time.Sleep(time.Minute)
		select {
		case <-h.answered:
			t.Error("it counts as answered, though it never had a replica")
		default:
		}
		f.set(nil)
		time.Sleep(2 * time.Second)
		if err := saveOn(h, item{key: "k"})[0].err; err != nil {
			t.Errorf("with a replica: %v", err)
		}

		f.set(fmt.Errorf("%w: node1", errNoReplica))
		if err := saveOn(h, item{key: "k"})[0].err; !errors.Is(err, errNoReplica) {
			t.Errorf("the replica is gone: %v", err)
		}
		time.Sleep(time.Second)
		before := f.saves.Load()
		if err := saveOn(h, item{key: "k"})[0].err; !errors.Is(err, errNoReplica) || f.saves.Load() != before {
			t.Errorf("later: %v, and %d saves came through", err, f.saves.Load()-before)
		}
		if got := s.read(t.Context(), []query{{key: "k"}}); got[0].err != nil {
			t.Errorf("read: %v", got[0].err)
		}
		if !s.up() || s.down() == nil {
			t.Errorf("up %t, down %v: want it to be called on, and not ready", s.up(), s.down())
		}
		f.set(nil)
		time.Sleep(2 * time.Second)
		if err := saveOn(h, item{key: "k"})[0].err; err != nil {
			t.Errorf("the replica is back: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

func TestShardBoundsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hold = make(chan struct{})
		h := newShard("node1", 1, f)
		h.found(nil)
		for range shardCalls {
			go saveOn(h, item{key: "k"})
		}
		synctest.Wait()
		if err := saveOn(h, item{key: "k"})[0].err; !errors.Is(err, peer.ErrFailed) {
			t.Errorf("one call too many: %v, want ErrFailed", err)
		}
		close(f.hold)
		synctest.Wait()
		if err := saveOn(h, item{key: "k"})[0].err; err != nil {
			t.Errorf("with room again: %v", err)
		}
		if n := f.saves.Load(); n != shardCalls+1 {
			t.Errorf("%d calls came through, want %d", n, shardCalls+1)
		}
	})
}

func TestShardCountsItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hold = make(chan struct{})
		h := newShard("node1", 1, f)
		read := func(n int) { h.read(t.Context(), make([]query, n)) }
		go read(3)
		go read(4)
		synctest.Wait()
		if now, most := h.reading.Load(), h.most.Load(); now != 7 || most != 7 {
			t.Errorf("%d keys are read, %d at most, want 7", now, most)
		}
		close(f.hold)
		synctest.Wait()
		read(2)
		if now, most := h.reading.Load(), h.most.Load(); now != 0 || most != 7 {
			t.Errorf("%d keys are read, %d at most, want 0 and 7", now, most)
		}
	})
}

// Items go to the shard of their key in their order, and answers come back in
// the caller's.
func TestSpread(t *testing.T) {
	var all []*shard
	got := make(map[string][]string)
	for _, name := range []string{"node1", "node2", "node3"} {
		f := newFake()
		f.seen = func(items []item) { // spread runs the shards at the same time, each once
			for _, it := range items {
				if len(it.key) > 40 {
					panic("the store of " + name)
				}
			}
		}
		h := newShard(name, 1, f)
		h.found(nil)
		all = append(all, h)
	}
	s := newShards(all)
	var items []item
	for i := range 30 {
		items = append(items, item{key: fmt.Sprintf("%0*d", i+1, i)})
	}
	for i, r := range s.save(t.Context(), items) {
		if r.err != nil || r.mid != int64(len(items[i].key)) {
			t.Errorf("item %d got the answer of another: %+v", i, r)
		}
		name := s.of(items[i].key).name
		got[name] = append(got[name], items[i].key)
	}
	if len(got) != 3 {
		t.Fatalf("only %d shards were used", len(got))
	}

	// A panic in one store fails its own items.
	long := fmt.Sprintf("%050d", 1)
	items = append(items, item{key: long})
	bad := s.of(long)
	for i, r := range s.save(t.Context(), items) {
		if want := s.of(items[i].key) == bad; (r.err != nil) != want {
			t.Errorf("%s on %s: %v", items[i].key, s.of(items[i].key).name, r.err)
		}
	}
	if n := bad.waiting.Load(); n != 0 {
		t.Errorf("%d calls are still counted", n)
	}
}
