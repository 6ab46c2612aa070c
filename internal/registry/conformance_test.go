package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// patience bounds every wait of these tests; it passes only when they fail.
const patience = 30 * time.Second

// service is what ZooKeeper and Memory have in common.
type service interface {
	Watch(context.Context, func(Snapshot)) error
	JoinComet(node string, i Info) *Membership
	JoinMessage(i Info) *Membership
	Connected() bool
	Refresh()
	Close()
}

// cluster is one registry as several processes see it.
type cluster struct {
	// open returns what another process sees: its own session, the same tree.
	open func(t *testing.T) (service, *base)
	// expire ends the session of m, as ZooKeeper does when it has heard
	// nothing from m for too long.
	expire func(t *testing.T, m *Membership)
}

func memoryCluster(t *testing.T) cluster {
	m := NewMemory()
	t.Cleanup(m.Close)
	return cluster{
		open:   func(*testing.T) (service, *base) { return m, m.base },
		expire: func(_ *testing.T, m *Membership) { m.base.tree.(*memorySession).expire() },
	}
}

func TestMemory(t *testing.T) { conformance(t, memoryCluster) }

// conformance is what every registry must do.
func conformance(t *testing.T, start func(*testing.T) cluster) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, cluster)
	}{
		{"the rules of the tree", testTree},
		{"an empty registry is a state too", testEmpty},
		{"comets and messages register", testRegister},
		{"the standby takes over", testStandby},
		{"leaving takes the node, but not from a standby", testLeave},
		{"withdrawing keeps the place, but not from a standby", testWithdraw},
		{"a comet that is away keeps place, weight and address", testAway},
		{"an expired session registers again", testExpiry},
		{"a deleted child registers again", testDeleted},
		{"a deleted node registers again", testDeletedNode},
		{"changed data reaches the others and the node", testSet},
		{"a child of an earlier session is not taken for one's own", testStale},
		{"two members of one process stay two", testTwoMembers},
		{"the epoch rises with every change of the ring", testEpoch},
		{"data that is not ours does not stop the watch", testForeignData},
		{"run ends with its context and leaves the child", testRunEnds},
		{"leave before run", testLeaveBeforeRun},
		{"refresh makes the watch look", testRefresh},
		{"a storm of changes coalesces", testStorm},
		{"a lock is one's", testLock},
		{"a lock ends with its session", testLockExpires},
		{"a node is removed as it was seen", testRemoveNode},
		{"a node that changed is not removed", testRemoveChanged},
		{"a node says until when it is kept", testKeep},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, start(t)) })
	}
}

// view follows a Watch.
type view struct {
	t *testing.T

	mu    sync.Mutex
	last  Snapshot
	calls int
}

// observe follows s until the test ends.
func observe(t *testing.T, s service) *view {
	v := &view{t: t}
	background(t, func(ctx context.Context) error {
		return s.Watch(ctx, func(s Snapshot) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.last = s
			v.calls++
		})
	})
	return v
}

func (v *view) get() (Snapshot, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last, v.calls
}

// until waits for a state that cond accepts, and returns it.
func (v *view) until(cond func(Snapshot) error) Snapshot {
	v.t.Helper()
	var s Snapshot
	testenv.Eventually(v.t, patience, func() error {
		var calls int
		if s, calls = v.get(); calls == 0 {
			return errors.New("no snapshot yet")
		}
		if err := cond(s); err != nil {
			return fmt.Errorf("%w in %+v", err, s)
		}
		return nil
	})
	return s
}

// background runs f until the test ends, or stop is called; both wait for it.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// run keeps m registered until the test ends, and waits until it is.
func run(t *testing.T, m *Membership) (stop func()) {
	t.Helper()
	stop = background(t, m.Run)
	registered(t, m, "")
	return stop
}

// registered waits until m has a child that is not called other.
func registered(t *testing.T, m *Membership, other string) string {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if name := m.Name(); name == "" || name == other {
			return fmt.Errorf("own child = %q, want another", name)
		}
		return nil
	})
	return m.Name()
}

func comet(n, weight int) Info {
	return Info{
		RPC: []string{fmt.Sprintf("127.0.0.1:%d", 6970+10*n)}, TCP: []string{fmt.Sprintf("127.0.0.1:%d", 6969+10*n)},
		WS: []string{fmt.Sprintf("127.0.0.1:%d", 6968+10*n)}, Weight: weight,
	}
}

func message(n, weight int) Info {
	return Info{RPC: []string{fmt.Sprintf("127.0.0.1:%d", 9989+n)}, Weight: weight}
}

// active accepts a snapshot whose node has this active child, of this info,
// written into the node's own data too.
func active(node string, i Info, standbys int) func(Snapshot) error {
	return func(s Snapshot) error {
		n, ok := s.Node(node)
		c, registered := n.Active()
		switch {
		case !ok || !registered:
			return fmt.Errorf("node %s is not registered", node)
		case !c.Info.equal(i):
			return fmt.Errorf("active is %v, want %v", c.Info, i)
		case !n.Last.equal(i):
			return fmt.Errorf("the node's own data is %v, want %v", n.Last, i)
		case len(n.Children) != standbys+1:
			return fmt.Errorf("%d standbys, want %d", len(n.Children)-1, standbys)
		case n.Weight != i.Weight:
			return fmt.Errorf("weight = %d, want %d", n.Weight, i.Weight)
		}
		return nil
	}
}

func weights(want map[string]int) func(Snapshot) error {
	return func(s Snapshot) error {
		if got := s.Weights(); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("weights = %v, want %v", got, want)
		}
		return nil
	}
}

func testTree(t *testing.T, c cluster) {
	_, b := c.open(t)
	_, other := c.open(t)
	ctx := t.Context()
	at := func(name string) string { return path.Join(b.paths.Comet, name) }
	if err := b.ensure(ctx, at("a/b")); err != nil {
		t.Fatal(err)
	}
	if err := b.ensure(ctx, at("a/b")); err != nil {
		t.Errorf("ensure what exists = %v, want nil", err)
	}
	_, st, err := b.get(ctx, at("a"))
	if err != nil || st.version != 0 || st.owner != 0 {
		t.Fatalf("stat of a new znode = %+v, %v; want version 0 and no owner", st, err)
	}
	for _, step := range []struct {
		name string
		got  error
		want error
	}{
		{"create what exists", b.create(ctx, at("a"), nil), zk.ErrNodeExists},
		{"create below nothing", b.create(ctx, at("x/y"), nil), zk.ErrNoNode},
		{"register below nothing", second(b.register(ctx, at("x"), nil)), zk.ErrNoNode},
		{"set nothing", b.set(ctx, at("x"), nil, anyVersion), zk.ErrNoNode},
		{"set with the version", b.set(ctx, at("a"), []byte("1"), 0), nil},
		{"set with an old version", b.set(ctx, at("a"), []byte("2"), 0), zk.ErrBadVersion},
		{"remove with an old version", b.remove(ctx, at("a/b"), 7), zk.ErrBadVersion},
		{"remove a parent", b.remove(ctx, at("a"), 1), zk.ErrNotEmpty},
		{"remove the child", b.remove(ctx, at("a/b"), 0), nil},
		{"remove nothing", b.remove(ctx, at("a/b"), anyVersion), zk.ErrNoNode},
	} {
		if !errors.Is(step.got, step.want) {
			t.Errorf("%s = %v, want %v", step.name, step.got, step.want)
		}
	}
	one, err1 := b.register(ctx, at("a"), []byte("mine"))
	two, err2 := other.register(ctx, at("a"), nil)
	if err1 != nil || err2 != nil || len(one) != 10 || compareNames(one, two) >= 0 {
		t.Fatalf("registered %q (%v), then %q (%v); want rising names of ten digits", one, err1, two, err2)
	}
	before := st
	data, st, err := other.get(ctx, at("a/"+one))
	if err != nil || string(data) != "mine" || st.owner != b.session() {
		t.Errorf("the child = %q, %+v, %v; want its data, owned by %x", data, st, err, b.session())
	}
	_, st, err = b.get(ctx, at("a"))
	if err != nil || st.version != 1 || st.mzxid <= before.mzxid || st.pzxid <= st.mzxid {
		t.Errorf("stat = %+v, %v; was %+v: want version 1, both zxids risen, and the children changed last", st, err, before)
	}
}

func second[A, B any](_ A, b B) B { return b }

func testEmpty(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	v.until(func(s Snapshot) error {
		if len(s.Comets)+len(s.Messages) != 0 {
			return errors.New("not empty")
		}
		return nil
	})
	if !s.Connected() {
		t.Error("Connected() = false, want true")
	}
}

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
	withdraw(one, time.Unix(1_790_000_010, 0)) // the place waits no more
	kept(string(comet(1, 4).encode()))

	fourth, _ := c.open(t)
	standby := fourth.JoinComet("node1", comet(2, 5))
	run(t, standby)
	v.until(active("node1", comet(1, 4), 1))
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

func testEpoch(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	last := v.until(func(Snapshot) error { return nil }).Epoch
	risen := func(what string, cond func(Snapshot) error) {
		t.Helper()
		s := v.until(cond)
		if s.Epoch <= last {
			t.Errorf("%s: epoch = %d, want more than %d", what, s.Epoch, last)
		}
		last = s.Epoch
	}
	one, _ := c.open(t)
	m := one.JoinComet("node1", comet(1, 1))
	run(t, m)
	risen("first node", active("node1", comet(1, 1), 0))
	two, _ := c.open(t)
	standby := two.JoinComet("node1", comet(2, 2))
	run(t, standby)
	risen("standby", active("node1", comet(1, 1), 1))
	m.Set(comet(1, 4))
	risen("weight", active("node1", comet(1, 4), 1))
	if err := m.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	risen("takeover", active("node1", comet(2, 2), 0))
	if err := standby.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	risen("empty", weights(map[string]int{}))

	// Two watchers that read the same say the same.
	third, _ := c.open(t)
	if got := observe(t, third).until(weights(map[string]int{})).Epoch; got != last {
		t.Errorf("epoch of another watcher = %d, want %d", got, last)
	}
}

func testForeignData(t *testing.T, c cluster) {
	s, b := c.open(t)
	v := observe(t, s)
	v.until(weights(map[string]int{}))
	ctx := t.Context()
	for _, n := range []struct{ node, own, child string }{
		{"broken", "{", "not json"},
		{"future", `{"keep":1790000000}`, `{"rpc":["127.0.0.1:1"],"weight":3,"zone":{"a":[1]}}`},
		{"typed", `[]`, `{"rpc":["127.0.0.1:2"],"weight":"3"}`},
		{"heavy", "", `{"rpc":["127.0.0.1:3"],"weight":1000000000}`},
		{"silent", "", ""},
	} {
		at := path.Join(b.paths.Comet, n.node)
		if err := b.create(ctx, at, []byte(n.own)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.register(ctx, at, []byte(n.child)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.register(ctx, b.paths.Message, []byte(`"what"`)); err != nil {
		t.Fatal(err)
	}
	snap := v.until(weights(map[string]int{"broken": 1, "future": 3, "typed": 1, "heavy": 100, "silent": 1}))
	for node, want := range map[string][]string{"future": {"127.0.0.1:1"}, "typed": {"127.0.0.1:2"}, "broken": nil} {
		n, _ := snap.Node(node)
		if got := n.Info().RPC; !slices.Equal(got, want) {
			t.Errorf("%s: rpc = %v, want %v", node, got, want)
		}
	}
	v.until(func(s Snapshot) error {
		if len(s.Messages) != 1 || s.Messages[0].Info.Weight != 1 {
			return errors.New("want one message of weight 1")
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

func testRefresh(t *testing.T, c cluster) {
	s, _ := c.open(t)
	v := observe(t, s)
	v.until(weights(map[string]int{}))
	for range 10 { // more than the looks that the creation of the roots causes
		_, before := v.get()
		s.Refresh()
		testenv.Eventually(t, patience, func() error {
			if _, calls := v.get(); calls == before {
				return errors.New("no further look")
			}
			return nil
		})
	}
}

func testStorm(t *testing.T, c cluster) {
	s, _ := c.open(t)
	other, _ := c.open(t)
	m := other.JoinComet("node1", comet(1, 1))
	run(t, m)
	entered, release := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var seen []Snapshot
	background(t, func(ctx context.Context) error {
		return s.Watch(ctx, func(s Snapshot) {
			mu.Lock()
			first := len(seen) == 0
			seen = append(seen, s)
			mu.Unlock()
			if first {
				close(entered)
				<-release // a slow consumer
			}
		})
	})
	<-entered
	_, b := c.open(t)
	const changes = 200
	for i := range changes {
		data, _ := json.Marshal(map[string]int{"weight": i%100 + 1})
		if err := b.ensure(t.Context(), path.Join(b.paths.Comet, "node2")); err != nil {
			t.Fatal(err)
		}
		if err := b.set(t.Context(), path.Join(b.paths.Comet, "node2"), data, anyVersion); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	testenv.Eventually(t, patience, func() error {
		mu.Lock()
		defer mu.Unlock()
		last := seen[len(seen)-1]
		if n, ok := last.Node("node2"); !ok || n.Weight != 100 {
			return fmt.Errorf("last = %+v, want node2 of weight 100", last)
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if len(seen) > changes/2 {
		t.Errorf("%d calls for %d changes while the consumer was busy, want few", len(seen), changes)
	}
}
