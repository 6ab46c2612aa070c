package registry

import (
	"context"
	"errors"
	"path"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
)

// deaf is a tree whose signals are all lost.
type deaf struct{ tree }

func (deaf) subscribe() (<-chan struct{}, func()) { return nil, func() {} }

// brittle is a tree in which calls fail.
type brittle struct {
	tree
	fails int  // how many of the next registrations fail
	after bool // the registration was carried out, only its answer was lost
	calls []time.Time
}

func (b *brittle) register(ctx context.Context, parent string, data []byte) (string, error) {
	b.calls = append(b.calls, time.Now())
	if b.fails == 0 {
		return b.tree.register(ctx, parent, data)
	}
	b.fails--
	if b.after {
		if _, err := b.tree.register(ctx, parent, data); err != nil {
			return "", err
		}
	}
	return "", zk.ErrConnectionClosed
}

// fake calls f in a bubble with a fake clock, and ends what it ran with ctx.
func fake(t *testing.T, f func(ctx context.Context, m *Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		f(ctx, NewMemory())
	})
}

func TestLostSignalIsMadeUpFor(t *testing.T) {
	fake(t, func(ctx context.Context, m *Memory) {
		var last Snapshot
		go newBase(deaf{m.tree}, m.paths).Watch(ctx, func(s Snapshot) { last = s })
		synctest.Wait()
		if err := m.create(ctx, path.Join(m.paths.Comet, "node1"), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(sweep)
		synctest.Wait()
		if len(last.Comets) != 1 {
			t.Errorf("after %v the watch says %+v, want node1", sweep, last)
		}
	})
}

func TestRegistrationIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		after bool
		calls int
	}{
		{"not carried out", false, 4},
		{"carried out, the answer was lost: found, not made again", true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake(t, func(ctx context.Context, m *Memory) {
				b := &brittle{tree: m.nodes.open(), fails: 3, after: c.after}
				if err := m.ensure(ctx, "/comet/node1"); err != nil {
					t.Fatal(err)
				}
				member := newBase(b, m.paths).JoinComet("node1", comet(1, 1))
				go member.Run(ctx)
				time.Sleep(time.Minute)
				synctest.Wait()
				names, _, err := m.children(ctx, "/comet/node1")
				if err != nil || len(names) != 1 || names[0] != member.Name() {
					t.Errorf("children = %v, %v; want one, %s", names, err, member.Name())
				}
				if len(b.calls) != c.calls {
					t.Errorf("%d registrations, want %d", len(b.calls), c.calls)
				}
			})
		})
	}
}

func TestDeletedAgainAndAgain(t *testing.T) {
	fake(t, func(ctx context.Context, m *Memory) {
		b := &brittle{tree: m.nodes.open()}
		member := newBase(b, m.paths).JoinMessage(message(1, 1))
		go member.Run(ctx)
		synctest.Wait()
		const times = 8
		var pauses []time.Duration
		for i := range times {
			deleted := time.Now()
			if err := m.remove(ctx, path.Join(member.parent, member.Name()), anyVersion); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second) // the longest pause
			synctest.Wait()
			if len(b.calls) != i+3 { // the very first found no parent
				t.Fatalf("%d registrations after %d deletions, want %d", len(b.calls), i+1, i+3)
			}
			pauses = append(pauses, b.calls[i+2].Sub(deleted))
		}
		if first, last := pauses[0], pauses[times-1]; first > time.Second || last < 15*time.Second {
			t.Errorf("pauses = %v, want the first below 1s and the last near 30s", pauses)
		}
	})
}

func TestLeaveInterruptsThePause(t *testing.T) {
	fake(t, func(ctx context.Context, m *Memory) {
		member := m.JoinComet("node1", comet(1, 1))
		done := make(chan struct{})
		go func() {
			defer close(done)
			member.Run(ctx)
		}()
		synctest.Wait()
		if err := m.remove(ctx, path.Join(member.parent, member.Name()), anyVersion); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := member.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		<-done
		if took := time.Since(start); took != 0 {
			t.Errorf("Leave waited %v for a registration that it makes needless", took)
		}
		if _, _, err := m.get(ctx, member.parent); !errors.Is(err, zk.ErrNoNode) {
			t.Errorf("the node: %v, want none", err)
		}
	})
}

func TestLeaveWhileZooKeeperIsAway(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*Membership)
		want   error
	}{
		{"never registered", func(*Membership) {}, nil},
		{"registered", func(m *Membership) { m.since = time.Now() }, errAway},
		{"perhaps registered", func(m *Membership) { m.unsure = true }, errAway},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake(t, func(ctx context.Context, m *Memory) {
				member := newBase(away{m.tree}, m.paths).JoinComet("node1", comet(1, 1))
				tt.before(member)
				if err := member.Withdraw(ctx, time.Now()); !errors.Is(err, tt.want) {
					t.Errorf("Withdraw = %v, want %v", err, tt.want)
				}
				if err := member.Leave(ctx); !errors.Is(err, tt.want) {
					t.Errorf("Leave = %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// away is a tree without a session.
type away struct{ tree }

func (away) session() int64 { return 0 }
func (away) children(context.Context, string) ([]string, stat, error) {
	return nil, stat{}, errAway
}

func TestMine(t *testing.T) {
	addr := func(a ...string) Info { return Info{RPC: a} }
	for _, c := range []struct {
		name  string
		own   Info
		child Child
		want  bool
	}{
		{"its addresses", addr("a:1", "b:1"), Child{Name: "9", Info: addr("a:1", "b:1")}, true},
		{"other addresses, though its name, which a wiped ZooKeeper gives again", addr("a:1"), Child{Name: "5", Info: addr("b:1")}, false},
		{"one of its addresses", addr("a:1", "b:1"), Child{Name: "5", Info: addr("a:1")}, false},
		{"no addresses, its name", addr("a:1"), Child{Name: "5", Info: addr()}, true},
		{"no addresses, another name", addr("a:1"), Child{Name: "6", Info: addr()}, false},
		{"it has no addresses yet", addr(), Child{Name: "6", Info: addr("a:1")}, false},
		{"nothing", addr(), Child{}, false},
	} {
		m := NewMemory().JoinComet("node1", c.own)
		if c.name != "nothing" {
			m.setName("5")
		}
		if got := m.Mine(c.child); got != c.want {
			t.Errorf("%s: Mine(%+v) = %v, want %v", c.name, c.child, got, c.want)
		}
	}
}
