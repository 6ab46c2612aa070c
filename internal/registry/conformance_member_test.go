package registry

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

func testRegister(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	one := s.JoinComet("node1", comet(1, 1))
	run(t, one)
	other, _ := c.open(t)
	run(t, other.JoinComet("node2", comet(2, 3)))
	msg := other.JoinMessage(message(1, 2))
	run(t, msg)
	v.until(weights(map[string]int{"node1": 1, "node2": 3}))
	v.until(active("node1", comet(1, 1), 0))
	v.until(active("node2", comet(2, 3), 0))
	snap := v.until(func(s Snapshot) error {
		if len(s.Messages) != 1 {
			return errors.New("want one message")
		}
		return nil
	})
	if got := snap.Messages[0]; got.Name != msg.Name() || !got.Info.equal(message(1, 2)) {
		t.Errorf("message = %+v, want %s %+v", got, msg.Name(), message(1, 2))
	}
	n, _ := snap.Node("node1")
	if own, _ := n.Active(); own.Name != one.Name() || !one.Mine(own) {
		t.Errorf("active = %+v, which is not the %q that registered", own, one.Name())
	}
	if one.Mine(snap.Messages[0]) {
		t.Error("another's child is mine")
	}
	data, _, err := b.get(t.Context(), path.Join(one.parent, one.Name()))
	want := `{"rpc":["127.0.0.1:6980"],"tcp":["127.0.0.1:6979"],"ws":["127.0.0.1:6978"],"weight":1}`
	if err != nil || string(data) != want {
		t.Errorf("znode = %s, %v; want %s (docs/protocol.md, \"ZooKeeper\")", data, err, want)
	}
}

func testStandby(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	first, _ := c.open(t)
	a := first.JoinComet("node1", comet(1, 1))
	run(t, a)
	second, _ := c.open(t)
	b := second.JoinComet("node1", comet(2, 5))
	run(t, b)
	v.until(active("node1", comet(1, 1), 1))
	if err := a.Leave(t.Context()); err != nil {
		t.Fatalf("Leave: %v", err)
	}
	v.until(active("node1", comet(2, 5), 0))
}

func testLeave(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	one, two := s.JoinComet("node1", comet(1, 1)), s.JoinMessage(message(1, 1))
	run(t, one)
	run(t, two)
	v.until(active("node1", comet(1, 1), 0))
	for range 2 { // leaving again is no error
		if err := one.Leave(t.Context()); err != nil {
			t.Fatalf("Leave: %v", err)
		}
	}
	if err := two.Leave(t.Context()); err != nil {
		t.Fatalf("Leave: %v", err)
	}
	if one.Name() != "" || two.Name() != "" {
		t.Errorf("names after leaving = %q, %q; want none", one.Name(), two.Name())
	}
	if _, _, err := b.get(t.Context(), one.parent); !errors.Is(err, zk.ErrNoNode) {
		t.Errorf("the node after its only comet left: %v, want none", err)
	}
	v.until(weights(map[string]int{}))
	v.until(func(s Snapshot) error {
		if len(s.Messages) != 0 {
			return errors.New("the message is still there")
		}
		return nil
	})
}

func testWithdraw(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	other, _ := c.open(t)
	one := other.JoinComet("node1", comet(1, 3))
	run(t, one)
	v.until(active("node1", comet(1, 3), 0))
	kept := func(want string) {
		t.Helper()
		if data, _, err := b.get(t.Context(), one.parent); err != nil || string(data) != want {
			t.Errorf("the node's data = %s, %v; want %s", data, err, want)
		}
	}
	found := func(m *Membership, want bool) {
		t.Helper()
		testenv.Eventually(t, patience, func() error {
			if kept, known := m.Kept(); !known || kept != want {
				return fmt.Errorf("Kept = %v, %v; want %v", kept, known, want)
			}
			return nil
		})
	}
	found(one, false)
	withdraw := func(m *Membership, keep time.Time) {
		t.Helper()
		if err := m.Withdraw(t.Context(), keep); err != nil {
			t.Fatalf("Withdraw: %v", err)
		}
	}
	withdraw(one, time.Unix(1_790_000_000, 1)) // rounded up
	kept(`{"rpc":["127.0.0.1:6980"],"tcp":["127.0.0.1:6979"],"ws":["127.0.0.1:6978"],"weight":3,"keep":1790000001}`)
	snap := v.until(func(s Snapshot) error {
		if n, ok := s.Node("node1"); !ok || len(n.Children) != 0 {
			return errors.New("want the node without a child")
		}
		return nil
	})
	if n, _ := snap.Node("node1"); n.Weight != 3 || !n.Info().equal(comet(1, 3)) || one.Name() != "" {
		t.Errorf("node of who withdrew = %+v, want weight 3 and the last addresses; its child is %q", n, one.Name())
	}
	withdraw(one, time.Unix(1_790_000_009, 0)) // it took longer
	kept(`{"rpc":["127.0.0.1:6980"],"tcp":["127.0.0.1:6979"],"ws":["127.0.0.1:6978"],"weight":3,"keep":1790000009}`)

	third, _ := c.open(t)
	back := third.JoinComet("node1", comet(1, 4))
	run(t, back)
	v.until(active("node1", comet(1, 4), 0))
	found(back, true)
	withdraw(one, time.Unix(1_790_000_010, 0)) // the place waits no more
	kept(string(comet(1, 4).encode()))

	fourth, _ := c.open(t)
	standby := fourth.JoinComet("node1", comet(2, 5))
	run(t, standby)
	v.until(active("node1", comet(1, 4), 1))
	found(standby, false)
	withdraw(back, time.Unix(1_790_000_020, 0))
	v.until(active("node1", comet(2, 5), 0))
	testenv.Eventually(t, patience, func() error { // it writes its own data over the note
		data, _, err := b.get(t.Context(), one.parent)
		if err == nil && string(data) != string(comet(2, 5).encode()) {
			err = fmt.Errorf("the node's data is %s", data)
		}
		return err
	})
	fifth, _ := c.open(t)
	waiting := fifth.JoinComet("node1", comet(3, 6))
	run(t, waiting)
	v.until(active("node1", comet(2, 5), 1))
	withdraw(waiting, time.Unix(1_790_000_030, 0)) // a standby has no place to keep
	v.until(active("node1", comet(2, 5), 0))
	kept(string(comet(2, 5).encode()))

	withdraw(standby, time.Unix(1_790_000_040, 0))
	sixth, _ := c.open(t)
	stranger := sixth.JoinComet("node1", comet(3, 6))
	run(t, stranger)
	v.until(active("node1", comet(3, 6), 0))
	found(stranger, false) // the place was kept for another
}

func testAway(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	other, _ := c.open(t)
	m := other.JoinComet("node1", comet(1, 7))
	stop := run(t, m)
	v.until(active("node1", comet(1, 7), 0))
	stop() // nobody registers again
	c.expire(t, m)
	snap := v.until(func(s Snapshot) error {
		if n, ok := s.Node("node1"); !ok || len(n.Children) > 0 {
			return errors.New("want the node without a child")
		}
		return nil
	})
	if n, _ := snap.Node("node1"); n.Weight != 7 || !n.Info().equal(comet(1, 7)) {
		t.Errorf("node while away = %+v, want weight 7 and the last addresses", n)
	}
	// An old comet wrote nothing into its node: the weight last seen counts,
	// and for those who never saw one, 1.
	if err := b.set(t.Context(), m.parent, nil, anyVersion); err != nil {
		t.Fatal(err)
	}
	v.until(func(s Snapshot) error {
		if n, _ := s.Node("node1"); n.Weight != 7 || n.Last.Weight != 0 {
			return errors.New("want weight 7 and no data")
		}
		return nil
	})
	observe(t, s).until(weights(map[string]int{"node1": 1}))
}

func testExpiry(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	one, _ := c.open(t)
	m := one.JoinComet("node1", comet(1, 1))
	run(t, m)
	two, _ := c.open(t)
	d := two.JoinMessage(message(1, 1))
	run(t, d)
	v.until(active("node1", comet(1, 1), 0))
	oldComet, oldMessage := m.Name(), d.Name()
	c.expire(t, m)
	c.expire(t, d)
	registered(t, m, oldComet)
	registered(t, d, oldMessage)
	v.until(func(s Snapshot) error {
		n, _ := s.Node("node1")
		if a, ok := n.Active(); !ok || a.Name != m.Name() || len(n.Children) != 1 {
			return fmt.Errorf("want %s alone", m.Name())
		}
		if len(s.Messages) != 1 || s.Messages[0].Name != d.Name() {
			return fmt.Errorf("want message %s alone", d.Name())
		}
		return nil
	})
}

func testDeleted(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	other, _ := c.open(t)
	m := other.JoinComet("node1", comet(1, 1))
	run(t, m)
	old := m.Name()
	if err := b.remove(t.Context(), path.Join(m.parent, old), anyVersion); err != nil {
		t.Fatal(err)
	}
	registered(t, m, old)
	v.until(active("node1", comet(1, 1), 0))
}

func testDeletedNode(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	other, _ := c.open(t)
	m := other.JoinComet("node1", comet(1, 1))
	run(t, m)
	before := v.until(active("node1", comet(1, 1), 0))
	for _, at := range []string{path.Join(m.parent, m.Name()), m.parent} { // as the reaper does
		if err := b.remove(t.Context(), at, anyVersion); err != nil {
			t.Fatal(err)
		}
	}
	v.until(func(s Snapshot) error {
		if s.Epoch == before.Epoch {
			return errors.New("the old state")
		}
		return active("node1", comet(1, 1), 0)(s)
	})
}

func testSet(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	other, _ := c.open(t)
	m := other.JoinComet("node1", comet(1, 1))
	run(t, m)
	standby, _ := c.open(t)
	run(t, standby.JoinComet("node1", comet(2, 2)))
	v.until(active("node1", comet(1, 1), 1))
	m.Set(comet(1, 9))
	v.until(active("node1", comet(1, 9), 1))
}

func testStale(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	earlier, _ := c.open(t)
	stale := earlier.JoinComet("node1", comet(1, 1))
	stop := run(t, stale)
	stop() // the daemon died, its session did not yet
	later, _ := c.open(t)
	m := later.JoinComet("node1", comet(1, 1))
	run(t, m)
	if m.Name() == stale.Name() {
		t.Fatalf("took %s, a child of another session, for its own", m.Name())
	}
	snap := v.until(active("node1", comet(1, 1), 1))
	if n, _ := snap.Node("node1"); !m.Mine(n.Children[0]) || !m.Mine(n.Children[1]) {
		t.Error("a child with the addresses of this daemon leads to it, whoever made it")
	}
	c.expire(t, stale)
	v.until(active("node1", comet(1, 1), 0))
}

func testTwoMembers(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	a, b := s.JoinMessage(message(1, 1)), s.JoinMessage(message(2, 1))
	run(t, a)
	run(t, b)
	x, y := s.JoinComet("node1", comet(1, 1)), s.JoinComet("node1", comet(2, 1))
	run(t, x)
	run(t, y)
	v.until(active("node1", comet(1, 1), 1))
	for _, m := range []*Membership{a, y} { // with ZooKeeper both times all four
		old := m.Name()
		c.expire(t, m)
		registered(t, m, old)
	}
	v.until(func(s Snapshot) error {
		var got []string
		for _, m := range s.Messages {
			got = append(got, m.Info.RPC...)
		}
		slices.Sort(got)
		n, _ := s.Node("node1")
		if !slices.Equal(got, []string{"127.0.0.1:9990", "127.0.0.1:9991"}) || len(n.Children) != 2 {
			return fmt.Errorf("messages %v and %d comets, want both of each", got, len(n.Children))
		}
		return nil
	})
}

func testRunEnds(t *testing.T, c cluster) {
	s, b := c.open(t)
	m := s.JoinComet("node1", comet(1, 1))
	stop := run(t, m)
	stop()
	if _, _, err := b.get(t.Context(), path.Join(m.parent, m.Name())); err != nil {
		t.Errorf("the child after Run: %v, want it to stay until Leave", err)
	}
	if err := m.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.get(t.Context(), m.parent); !errors.Is(err, zk.ErrNoNode) {
		t.Errorf("the node after Leave: %v, want none", err)
	}
}

func testLeaveBeforeRun(t *testing.T, c cluster) {
	s, b := c.open(t)
	observe(t, s).until(weights(map[string]int{}))
	m := s.JoinComet("node1", comet(1, 1))
	if err := m.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.get(t.Context(), m.parent); !errors.Is(err, zk.ErrNoNode) {
		t.Errorf("the node: %v, want none", err)
	}
}
