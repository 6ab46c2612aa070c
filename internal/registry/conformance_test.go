package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
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
