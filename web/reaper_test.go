package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// town is comets that register in a Memory and answer calls, or do not.
type town struct {
	*registry.Memory
	fakeCluster // for what else is in a Directory

	mu      sync.Mutex
	last    registry.Snapshot
	changed chan struct{}
	errs    map[string]error // place → what every call there ends with
	calls   map[string]int   // place → how many there were
	told    map[string][]peer.MigrateArgs
	open    int // connections that nobody has closed
}

// newTown follows the registry until ctx ends.
func newTown(ctx context.Context) *town {
	c := &town{
		Memory: registry.NewMemory(), changed: make(chan struct{}),
		errs: make(map[string]error), calls: make(map[string]int),
		told: make(map[string][]peer.MigrateArgs),
	}
	go c.Watch(ctx, func(s registry.Snapshot) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last = s
		close(c.changed)
		c.changed = make(chan struct{})
	})
	return c
}

func (c *town) Snapshot() registry.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *town) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// settle makes every call to these places end with err; nil: an answer.
func (c *town) settle(err error, places ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range places {
		c.errs[p] = err
	}
}

// join registers a comet under node, which is also its address.
func (c *town) join(ctx context.Context, node string) *registry.Membership {
	m := c.JoinComet(node, registry.Info{RPC: []string{node}, Weight: 1})
	go m.Run(ctx)
	return m
}

// names returns the nodes of the ring as the registry has them.
func (c *town) names() []string {
	synctest.Wait()
	var names []string
	for _, n := range c.Snapshot().Comets {
		names = append(names, n.Name)
	}
	return names
}

// phone is one connection to a comet of the town.
type phone struct {
	town *town
	addr string
}

func (c *town) dial(addr string) Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return phone{c, addr}
}

func (w phone) Addr() string { return w.addr }

func (w phone) Close() {
	w.town.mu.Lock()
	defer w.town.mu.Unlock()
	w.town.open--
}

// errStuck is the error of a comet that takes a call and never answers.
var errStuck = fmt.Errorf("%w: no answer", rpcnet.ErrLost)

func (w phone) Call(ctx context.Context, method string, args, reply any) error {
	w.town.mu.Lock()
	w.town.calls[w.addr]++
	err := w.town.errs[w.addr]
	if told, ok := args.(*peer.MigrateArgs); ok {
		w.town.told[w.addr] = append(w.town.told[w.addr], *told)
	}
	w.town.mu.Unlock()
	if errors.Is(err, errOlder) {
		*reply.(*int) = 1
		return nil
	}
	if errors.Is(err, errStuck) {
		<-ctx.Done()
	}
	return err
}

// reap runs the reaper of a web until stop.
func (c *town) reap(ctx context.Context) (stop func(), r *reaper) {
	s := &Server{dir: c, reg: c.Memory, dial: c.dial, now: time.Now, timeout: 2 * time.Second, count: newCounters(), initial: DefaultConfig()}
	r = s.newReaper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.run(ctx) // it has no error
	}()
	return func() { cancel(); <-done }, r
}

// inTown calls f in a bubble with a fake clock.
func inTown(t *testing.T, nodes []string, f func(ctx context.Context, c *town, comets map[string]*registry.Membership)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		c := newTown(ctx)
		comets := make(map[string]*registry.Membership)
		for _, n := range nodes {
			comets[n] = c.join(ctx, n)
		}
		synctest.Wait()
		f(ctx, c, comets)
	})
}

// die ends the registration of a comet and leaves its node behind, as the end
// of its session does.
func die(t *testing.T, ctx context.Context, m *registry.Membership) {
	t.Helper()
	if err := m.Withdraw(ctx, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
}

var errRefused = fmt.Errorf("%w: dial: %w", rpcnet.ErrNotSent, syscall.ECONNREFUSED)

func TestReaper(t *testing.T) {
	all := []string{"node1", "node2", "node3"}
	for _, c := range []struct {
		name string
		err  error // of a call to node1
		dies bool
		want time.Duration // when node1 is out of the ring; 0: never
	}{
		{"killed", errRefused, true, 5 * time.Second},
		{"frozen until its session expired", errStuck, true, 8 * time.Second}, // a ping that began before, and one of 2 s
		{"it answers, though with an error", errors.New("no such method"), true, 0},
		{"it hangs", errStuck, false, 18 * time.Second},
		{"we have no files", fmt.Errorf("%w: %w", rpcnet.ErrNotSent, syscall.EMFILE), true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTown(t, all, func(ctx context.Context, town *town, comets map[string]*registry.Membership) {
				stop, r := town.reap(ctx)
				time.Sleep(2500 * time.Millisecond)
				town.settle(c.err, "node1")
				if c.dies {
					die(t, ctx, comets["node1"])
				}
				out := func() bool { return !slices.Contains(town.names(), "node1") }
				died := time.Duration(0)
				for start := time.Now(); time.Since(start) < 30*time.Second && died == 0; time.Sleep(100 * time.Millisecond) {
					if out() {
						died = time.Since(start)
						if n := r.count.reaped.Load(); n != 1 {
							t.Errorf("reaped = %d, want 1", n)
						}
					}
				}
				if c.want == 0 && died != 0 || c.want != 0 && (died == 0 || died > c.want+time.Second || died < 5*time.Second) {
					t.Errorf("out of the ring after %v, want %v (0: never)", died, c.want)
				}
				if got := town.names(); !slices.Contains(got, "node2") || !slices.Contains(got, "node3") {
					t.Errorf("ring = %v, want the others in it", got)
				}
				stop()
				if town.open != 0 {
					t.Errorf("%d connections left open", town.open)
				}
			})
		})
	}
}

// A comet that is back in the very moment in which it is given up stays.
func TestReaperIsTooLate(t *testing.T) {
	inTown(t, []string{"node1", "node2"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		die(t, ctx, comets["node1"])
		synctest.Wait()
		nodes := c.Snapshot().Comets
		c.join(ctx, "node1")
		synctest.Wait()
		s := &Server{dir: c, reg: c.Memory, now: time.Now, timeout: time.Second, count: newCounters(), initial: DefaultConfig()}
		r := s.newReaper()
		r.remove(ctx, nodes[0])
		if n, ok := c.Snapshot().Node("node1"); !ok || len(n.Children) != 1 || r.count.reaped.Load() != 0 {
			t.Errorf("node1 = %+v, want it with its comet", n)
		}
	})
}

// A comet that somebody else has taken out while we asked is not taken for one
// that is back.
func TestReaperOfWhatIsGone(t *testing.T) {
	inTown(t, []string{"node1", "node2"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		c.settle(errRefused, "node1")
		die(t, ctx, comets["node1"])
		synctest.Wait()
		reg := &removals{Memory: c.Memory}
		s := &Server{dir: c, reg: reg, dial: c.dial, now: time.Now, timeout: time.Second, count: newCounters(), initial: DefaultConfig()}
		r := s.newReaper()
		r.round(ctx)
		time.Sleep(6 * time.Second)
		seen, _ := c.Snapshot().Node("node1")
		var other sync.Once
		r.dial = func(addr string) Conn {
			other.Do(func() {
				if err := c.RemoveNode(ctx, seen); err != nil {
					t.Error(err)
				}
				for {
					if _, there := c.Snapshot().Node("node1"); !there {
						return
					}
					<-c.Changed()
				}
			})
			return c.dial(addr)
		}
		r.round(ctx)
		if reg.asked != 0 {
			t.Errorf("asked %d times to take out what was gone", reg.asked)
		}
	})
}

// removals counts what it is asked to take out.
type removals struct {
	*registry.Memory
	asked int
}

func (r *removals) RemoveNode(ctx context.Context, n registry.Node) error {
	r.asked++
	return r.Memory.RemoveNode(ctx, n)
}

// Who has lost the lock while it asked leaves all as it is.
func TestReaperWithoutItsLock(t *testing.T) {
	inTown(t, []string{"node1", "node2"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		c.settle(errRefused, "node1")
		die(t, ctx, comets["node1"])
		synctest.Wait()
		s := &Server{dir: c, reg: c.Memory, dial: c.dial, now: time.Now, timeout: time.Second, count: newCounters(), initial: DefaultConfig()}
		r := s.newReaper()
		r.round(ctx)
		time.Sleep(6 * time.Second)
		lost := r.lock
		r.dial = func(addr string) Conn {
			if err := lost.Unlock(ctx); err != nil { // as the end of the session does
				t.Error(err)
			}
			return c.dial(addr)
		}
		r.round(ctx)
		if got := c.names(); len(got) != 2 {
			t.Errorf("ring = %v, want both", got)
		}
		r.dial = c.dial
		time.Sleep(3 * time.Second)
		r.round(ctx)
		if got := c.names(); len(got) != 1 {
			t.Errorf("ring = %v, want node2 alone once the lock is held again", got)
		}
	})
}

func TestReaperPingsAllAddresses(t *testing.T) {
	errFiles := fmt.Errorf("%w: %w", rpcnet.ErrNotSent, syscall.EMFILE)
	for _, tt := range []struct {
		name          string
		first, second error
		want          heard
	}{
		{"both answer", nil, nil, anAnswer},
		{"one answers", errRefused, nil, anAnswer},
		{"one answers with an error", errStuck, errors.New("no such method"), anAnswer},
		{"none answers", errRefused, errStuck, silence},
		{"one we could not even ask", errRefused, errFiles, nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, nil, func(ctx context.Context, c *town, _ map[string]*registry.Membership) {
				c.settle(tt.first, "a")
				c.settle(tt.second, "b")
				r := &reaper{dial: c.dial, timeout: time.Second}
				if got := r.ping(ctx, []string{"a,b"})["a,b"]; got != tt.want {
					t.Errorf("heard %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// Of two webs one works; when it ends, the other goes on.
func TestReaperOneAtATime(t *testing.T) {
	inTown(t, []string{"node1", "node2", "node3"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		stop1, _ := c.reap(ctx)
		synctest.Wait()
		stop2, r2 := c.reap(ctx)
		time.Sleep(10*time.Second + time.Millisecond)
		c.mu.Lock()
		pings := c.calls["node2"]
		c.mu.Unlock()
		if pings < 9 || pings > 12 {
			t.Errorf("%d pings in 10 s, want one a second, of one web", pings)
		}
		stop1()
		c.settle(errRefused, "node1")
		die(t, ctx, comets["node1"])
		time.Sleep(9 * time.Second) // 3 s to see that the lock is free
		if got := c.names(); slices.Contains(got, "node1") || r2.count.reaped.Load() != 1 {
			t.Errorf("ring = %v, reaped by the other = %d, want node1 out by it", got, r2.count.reaped.Load())
		}
		stop2()
	})
}

// A web that sees nobody lets another have a look.
func TestReaperThatIsBlind(t *testing.T) {
	inTown(t, []string{"node1", "node2"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		c.settle(errRefused, "node1", "node2")
		stop, r := c.reap(ctx)
		try := func() *registry.Lock { // as another web does
			l, err := c.TryLock(ctx, r.at, "another")
			if err != nil && !errors.Is(err, registry.ErrLocked) {
				t.Error(err)
			}
			return l
		}
		time.Sleep(14 * time.Second)
		if try() != nil {
			t.Fatal("the lock was given back too soon")
		}
		var other *registry.Lock
		for start := time.Now(); other == nil && time.Since(start) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
			other = try()
		}
		if other == nil {
			t.Fatal("a web that reaches nobody keeps the lock")
		}
		if got := c.names(); len(got) != 2 {
			t.Errorf("ring = %v, want both", got)
		}
		if err := other.Unlock(ctx); err != nil {
			t.Fatal(err)
		}
		c.settle(nil, "node2") // and node1 is silent as before
		time.Sleep(14 * time.Second)
		if try() != nil {
			t.Error("a web that sees again does not work again")
		}
		if n := r.count.reaped.Load(); n != 0 {
			t.Errorf("reaped = %d, want 0: what it saw while it was blind does not count", n)
		}
		time.Sleep(20 * time.Second)
		if n := r.count.reaped.Load(); n == 0 {
			t.Error("node1 is silent for 20 s more, and was not reaped")
		}
		stop()
	})
}
