package registry

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// abandoned registers a comet of node1 and ends it, but not its session.
func abandoned(t *testing.T, c cluster, i Info) *Membership {
	t.Helper()
	s, b := c.open(t)
	m := s.JoinComet("node1", i)
	stop := run(t, m)
	testenv.Eventually(t, patience, func() error { // it writes there behind its child
		data, _, err := b.get(t.Context(), m.parent)
		if err == nil && !bytes.Equal(data, i.encode()) {
			err = fmt.Errorf("the node's data is %q", data)
		}
		return err
	})
	stop()
	return m
}

func gone(s Snapshot) error { return weights(map[string]int{})(s) }

func childless(s Snapshot) error {
	if n, ok := s.Node("node1"); !ok || len(n.Children) > 0 {
		return errors.New("want the node without a child")
	}
	return nil
}

// testRemoveNode removes nodes that are as they were seen.
func testRemoveNode(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	remove := func(n Node) {
		t.Helper()
		if err := b.RemoveNode(t.Context(), n); err != nil {
			t.Fatalf("RemoveNode(%+v) = %v", n, err)
		}
	}
	node := func(cond func(Snapshot) error) Node {
		t.Helper()
		n, _ := v.until(cond).Node("node1")
		return n
	}

	m := abandoned(t, c, comet(1, 1))
	node(active("node1", comet(1, 1), 0))
	c.expire(t, m)
	remove(node(childless))
	v.until(gone)

	abandoned(t, c, comet(1, 2)) // its child is there still, though nobody lives
	remove(node(active("node1", comet(1, 2), 0)))
	v.until(gone)

	abandoned(t, c, comet(1, 3))
	standby, _ := c.open(t)
	run(t, standby.JoinComet("node1", comet(2, 4)))
	remove(node(active("node1", comet(1, 3), 1)))
	v.until(active("node1", comet(2, 4), 0))
}

// testRemoveChanged does not remove what somebody has touched since.
func testRemoveChanged(t *testing.T, c cluster) {
	for _, tt := range []struct {
		name  string
		alive bool // a child is there when the node is seen
		since func(t *testing.T, b *base, m *Membership)
		left  int // children afterwards; -1: no node either
	}{
		{"a comet registered", false, func(t *testing.T, _ *base, _ *Membership) { abandoned(t, c, comet(1, 1)) }, 1},
		{"the node was written", false, func(t *testing.T, b *base, m *Membership) {
			must(t, b.set(t.Context(), m.parent, []byte(`{"keep":1790000000}`), anyVersion))
		}, 0},
		{"the child was written", true, func(t *testing.T, b *base, m *Membership) {
			must(t, b.set(t.Context(), path.Join(m.parent, m.Name()), comet(1, 9).encode(), anyVersion))
		}, 1},
		{"the child registered again", true, func(t *testing.T, b *base, m *Membership) {
			c.expire(t, m)
			abandoned(t, c, comet(1, 1))
		}, 1},
		{"the node was made anew, and its child has the same name", true, func(t *testing.T, b *base, m *Membership) {
			must(t, b.remove(t.Context(), path.Join(m.parent, m.Name()), anyVersion))
			must(t, b.remove(t.Context(), m.parent, anyVersion))
			if name := abandoned(t, c, comet(1, 1)).Name(); name != m.Name() {
				t.Fatalf("the new child is %s, want %s again", name, m.Name())
			}
		}, 1},
		{"somebody else removed it", false, func(t *testing.T, b *base, m *Membership) {
			must(t, b.remove(t.Context(), m.parent, anyVersion))
		}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, b := c.open(t)
			v := observe(t, s)
			m := abandoned(t, c, comet(1, 1))
			cond := active("node1", comet(1, 1), 0)
			v.until(cond)
			if !tt.alive {
				c.expire(t, m)
				cond = childless
			}
			seen, _ := v.until(cond).Node("node1")
			tt.since(t, b, m)
			if err := b.RemoveNode(t.Context(), seen); !errors.Is(err, ErrChanged) {
				t.Errorf("RemoveNode = %v, want ErrChanged", err)
			}
			names, _, err := b.children(t.Context(), m.parent)
			if tt.left < 0 {
				if !errors.Is(err, zk.ErrNoNode) {
					t.Errorf("children = %v, %v; want no node", names, err)
				}
				return
			}
			if err != nil || len(names) != tt.left {
				t.Errorf("children = %v, %v; want %d", names, err, tt.left)
			}
			must(t, sweepNode(t, b, m.parent))
		})
	}
}

// sweepNode makes room for the next case.
func sweepNode(t *testing.T, b *base, parent string) error {
	names, _, err := b.children(t.Context(), parent)
	for _, name := range names {
		err = errors.Join(err, b.remove(t.Context(), path.Join(parent, name), anyVersion))
	}
	return errors.Join(err, b.remove(t.Context(), parent, anyVersion))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testKeep(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	m := abandoned(t, c, comet(1, 1))
	until := func(want time.Time) func(Snapshot) error {
		return func(s Snapshot) error {
			if n, _ := s.Node("node1"); !n.Keep.Equal(want) || n.Last.Weight != 1 {
				return errors.New("want it kept until " + want.String() + ", with what the node's data says")
			}
			return nil
		}
	}
	v.until(until(time.Time{}))
	for data, want := range map[string]time.Time{
		`{"rpc":[],"weight":1,"keep":1790000000}`: time.Unix(1790000000, 0),
		`{"rpc":[],"weight":1,"keep":0}`:          {},
		`{"rpc":[],"weight":1,"keep":"soon"}`:     {},
	} {
		must(t, b.set(t.Context(), m.parent, []byte(data), anyVersion))
		v.until(until(want))
	}
}
