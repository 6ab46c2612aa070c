package web

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// migrate runs the migration of a web until stop.
func (c *town) migrate(ctx context.Context) (stop func(), m *migration) {
	s := &Server{dir: c, reg: c.Memory, dial: c.dial, timeout: 2 * time.Second, count: newCounters(), initial: DefaultConfig()}
	m = s.newMigration()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.run(ctx) // it has no error
	}()
	return func() { cancel(); <-done }, m
}

// heardOf returns what the comet at place was told, and forgets it.
func (c *town) heardOf(place string) []peer.MigrateArgs {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told[place]
	delete(c.told, place)
	return told
}

// wantTold fails the test unless the comet at place was told the ring as it is
// now, that often.
func (c *town) wantTold(t *testing.T, place string, times int) {
	t.Helper()
	got := c.heardOf(place)
	if len(got) != times {
		t.Errorf("%s was told %v, want %d calls", place, got, times)
		return
	}
	ring := c.Snapshot()
	for _, args := range got {
		want := peer.MigrateArgs{Nodes: ring.Weights(), Epoch: ring.Epoch, Root: ring.Root, Addrs: ring.Addrs()}
		if !reflect.DeepEqual(args, want) {
			t.Errorf("%s was told %v, want %v", place, args, want)
		}
	}
}

// lockIsFree fails the test if somebody holds the lock.
func (c *town) lockIsFree(t *testing.T, at string) {
	t.Helper()
	l, err := c.TryLock(t.Context(), at, "test")
	if err != nil {
		t.Errorf("TryLock = %v, want the lock given back", err)
		return
	}
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMigrate(t *testing.T) {
	inTown(t, []string{"node1", "node2"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		stop, m := c.migrate(ctx)
		time.Sleep(3 * time.Second)
		c.wantTold(t, "node1", 1)
		c.wantTold(t, "node2", 1)
		c.lockIsFree(t, m.at)

		time.Sleep(time.Hour)
		c.wantTold(t, "node1", 0) // it agreed

		c.join(ctx, "node3")
		time.Sleep(time.Second)
		comets["node1"].Set(registry.Info{RPC: []string{"node1"}, Weight: 7})
		time.Sleep(900 * time.Millisecond)
		c.wantTold(t, "node2", 0) // both changes together, once 2 s are over
		time.Sleep(200 * time.Millisecond)
		for _, n := range []string{"node1", "node2", "node3"} {
			c.wantTold(t, n, 1)
		}

		// Who has left is told too, for an hour.
		if err := comets["node1"].Leave(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		c.wantTold(t, "node1", 1)
		time.Sleep(farewell)
		c.join(ctx, "node4")
		time.Sleep(3 * time.Second)
		c.wantTold(t, "node1", 0)
		c.wantTold(t, "node4", 1)
		// Who came back and leaves again is told for another hour.
		c.join(ctx, "node1")
		time.Sleep(2 * farewell)
		if err := comets["node2"].Leave(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		back := c.join(ctx, "node2")
		time.Sleep(2 * farewell)
		c.heardOf("node2")
		if err := back.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		c.wantTold(t, "node2", 1)

		c.lockIsFree(t, m.at)
		stop()
		if c.open != 0 {
			t.Errorf("%d connections left open", c.open)
		}
	})
}

// The log names who is registered and does not agree; who has left is most
// often just gone.
func TestMigrateWaitsForWhoIsHere(t *testing.T) {
	inTown(t, []string{"node1", "node2", "node3"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		stop, m := c.migrate(ctx)
		time.Sleep(3 * time.Second)
		c.settle(errRefused, "node1", "node2")
		if err := comets["node1"].Leave(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		stop()
		if got, want := m.waiting(c.Snapshot().Epoch), []string{"node2"}; !reflect.DeepEqual(got, want) {
			t.Errorf("waits for %v, want %v", got, want)
		}
	})
}

// Who could not be told is told again until it agrees, and holds up neither the
// others nor the lock.
func TestMigrateAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"refused", errRefused},
		{"stuck", errStuck},
		{"does not agree yet", errOlder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, []string{"node1", "node2", "node3"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
				c.settle(tt.err, "node2")
				stop, m := c.migrate(ctx)
				time.Sleep(4100 * time.Millisecond) // 2 s to gather, and 2 s of rpc.timeout
				c.wantTold(t, "node1", 1)
				c.wantTold(t, "node3", 1)
				c.lockIsFree(t, m.at)
				time.Sleep(2 * time.Minute)
				c.lockIsFree(t, m.at)
				if n := len(c.heardOf("node2")); n < 5 || n > 15 {
					t.Errorf("told %d times in two minutes, want it with growing pauses of up to half a minute", n)
				}
				c.join(ctx, "node4") // with each change the pauses begin anew
				time.Sleep(time.Second)
				c.heardOf("node2")
				time.Sleep(10 * time.Second)
				if n := len(c.heardOf("node2")); n < 3 {
					t.Errorf("told %d times in ten seconds after a change, want more", n)
				}
				c.settle(nil, "node2")
				time.Sleep(33 * time.Second)
				c.wantTold(t, "node2", 1)
				c.heardOf("node1")
				c.heardOf("node3")
				time.Sleep(time.Hour)
				for _, n := range []string{"node1", "node2", "node3"} {
					c.wantTold(t, n, 0)
				}
				stop()
			})
		})
	}
}

// The lock is waited for, but not for ever.
func TestMigrateWaitsForTheLock(t *testing.T) {
	for _, tt := range []struct {
		name string
		held time.Duration
		want time.Duration
	}{
		{"another web's", 10 * time.Second, 10 * time.Second},
		{"held for ever", time.Hour, 2*time.Second + lockPatience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, []string{"node1"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
				l, err := c.TryLock(ctx, DefaultConfig().ZooKeeper.Migrate.Path, "another")
				if err != nil {
					t.Fatal(err)
				}
				stop, _ := c.migrate(ctx)
				start := time.Now()
				var at time.Duration
				for ; at == 0 && time.Since(start) < 2*time.Minute; time.Sleep(100 * time.Millisecond) {
					if time.Since(start) >= tt.held {
						if err := l.Unlock(ctx); err != nil {
							t.Fatal(err)
						}
					}
					if len(c.heardOf("node1")) > 0 {
						at = time.Since(start)
					}
				}
				if at < tt.want || at > tt.want+1200*time.Millisecond {
					t.Errorf("told after %v, want %v", at, tt.want)
				}
				stop()
			})
		})
	}
}

// A lock that could not be given back is given back as soon as it can be.
func TestMigrateGivesTheLockBack(t *testing.T) {
	inTown(t, []string{"node1"}, func(ctx context.Context, c *town, comets map[string]*registry.Membership) {
		s := &Server{dir: c, reg: c.Memory, dial: c.dial, timeout: time.Second, count: newCounters(), initial: DefaultConfig()}
		m := s.newMigration()
		if !m.elected(ctx) {
			t.Fatal("not elected, and nobody else is there")
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		m.unlock(over) // as at the end of the daemon
		c.lockIsFree(t, m.at)
		if m.lock != nil {
			t.Error("the lock is thought to be held")
		}
	})
}

func TestMigrateTriesAllAddresses(t *testing.T) {
	inTown(t, nil, func(ctx context.Context, c *town, _ map[string]*registry.Membership) {
		m := c.JoinComet("node1", registry.Info{RPC: []string{"first", "second", "third"}, Weight: 1})
		go m.Run(ctx)
		c.settle(errRefused, "first")
		stop, _ := c.migrate(ctx)
		time.Sleep(3 * time.Second)
		for place, want := range map[string]int{"first": 1, "second": 1, "third": 0} {
			c.wantTold(t, place, want)
		}
		stop()
	})
}

// errOlder makes a comet answer that its own ring is older.
var errOlder = errors.New("ret 1")
