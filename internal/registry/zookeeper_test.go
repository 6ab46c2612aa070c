package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// session is the session timeout that most tests ask for.
const session = 4 * time.Second

// open connects to a ZooKeeper until the test ends. Its roots lie below root.
func open(t *testing.T, addr, root string, timeout time.Duration) *ZooKeeper {
	t.Helper()
	z := DialZooKeeper(Options{
		Addr: []string{addr}, Timeout: timeout,
		CometPath: root + "/comet", MessagePath: root + "/message",
	})
	t.Cleanup(z.Close)
	return z
}

// connected waits until z has a session.
func connected(t *testing.T, z *ZooKeeper, want bool) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if got := z.Connected(); got != want {
			return fmt.Errorf("Connected() = %v, want %v", got, want)
		}
		return nil
	})
}

func TestZooKeeper(t *testing.T) {
	server := testenv.ZooKeeper(t)
	var roots atomic.Int32
	conformance(t, func(t *testing.T) cluster {
		root := fmt.Sprintf("/test/%d", roots.Add(1)) // two levels, to be created
		return cluster{
			open: func(t *testing.T) (service, *base) {
				z := open(t, server.Addr(), root, session)
				connected(t, z, true)
				return z, z.base
			},
			expire: func(t *testing.T, m *Membership) {
				c, _ := m.base.tree.(*ensemble).clients()
				expire(t, server.Addr(), c)
			},
		}
	})
	for _, c := range []struct {
		name string
		run  func(t *testing.T, addr, root string)
	}{
		{"slow answers", testSlow},
		{"a cut connection keeps the session", testCut},
		{"a server that hangs", testHang},
		{"a longer cut expires the session", testLongCut},
		{"not there at start", testNotThere},
		{"one of two servers is not there", testSecondServer},
		{"turmoil", testTurmoil},
		{"a read leaves one watch, however often", testOneWatch},
		{"a lost watch is found", testLostWatch},
		{"a change signals whoever read", testSignal},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, server.Addr(), fmt.Sprintf("/test/%d", roots.Add(1)))
		})
	}
}

func testSlow(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	p.Delay(100 * time.Millisecond)
	z := open(t, p.Addr(), root, session)
	v := observe(t, z)
	run(t, z.JoinComet("node1", comet(1, 1)))
	other := open(t, addr, root, session)
	run(t, other.JoinComet("node2", comet(2, 2)))
	v.until(active("node1", comet(1, 1), 0))
	v.until(active("node2", comet(2, 2), 0))
}

func testCut(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	z := open(t, p.Addr(), root, 10*time.Second)
	v := observe(t, z)
	m := z.JoinComet("node1", comet(1, 1))
	run(t, m)
	v.until(active("node1", comet(1, 1), 0))
	before, name := z.session(), m.Name()
	p.Refuse()
	connected(t, z, false)
	other := open(t, addr, root, session)
	run(t, other.JoinComet("node2", comet(2, 2))) // while z cannot see it
	if m.Name() != name {
		t.Errorf("own child while away = %q, want %q still", m.Name(), name)
	}
	p.Accept()
	v.until(active("node2", comet(2, 2), 0))
	if z.session() != before || m.Name() != name {
		t.Errorf("session %x and child %s after a cut, want %x and %s as before", z.session(), m.Name(), before, name)
	}
}

func testHang(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	z := open(t, p.Addr(), root, session)
	v := observe(t, z)
	m := z.JoinComet("node1", comet(1, 1))
	run(t, m)
	v.until(active("node1", comet(1, 1), 0))
	p.Hold(true, true)
	connected(t, z, false) // the library notices before the session is over
	m.Set(comet(1, 5))
	p.Hold(false, false)
	v.until(active("node1", comet(1, 5), 0))

	p.Hold(true, true)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		z.Close()
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close waits for a server that hangs")
	}
	p.Hold(false, false)
}

func testLongCut(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	z := open(t, p.Addr(), root, session)
	m, d := z.JoinComet("node1", comet(1, 1)), z.JoinMessage(message(1, 1))
	run(t, m)
	run(t, d)
	other := open(t, addr, root, session)
	v := observe(t, other)
	v.until(active("node1", comet(1, 1), 0))
	name := m.Name()
	p.Refuse()
	v.until(func(s Snapshot) error { // the server has expired the session
		if n, ok := s.Node("node1"); !ok || len(n.Children) > 0 || len(s.Messages) > 0 {
			return errors.New("want the node alone")
		}
		return nil
	})
	p.Accept()
	registered(t, m, name)
	v.until(active("node1", comet(1, 1), 0))
	v.until(func(s Snapshot) error {
		if len(s.Messages) != 1 {
			return errors.New("want the message again")
		}
		return nil
	})
}

func testNotThere(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	p.Refuse()
	z := open(t, p.Addr(), root, session)
	v := observe(t, z)
	m := z.JoinComet("node1", comet(1, 1))
	background(t, m.Run)
	if z.Connected() || m.Name() != "" {
		t.Error("connected without a server")
	}
	p.Accept()
	v.until(active("node1", comet(1, 1), 0))
}

func testOneWatch(t *testing.T, addr, root string) {
	z := open(t, addr, root, session)
	connected(t, z, true)
	if err := z.ensure(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, _, err := z.get(t.Context(), root); err != nil {
			t.Fatal(err)
		}
		if _, _, err := z.children(t.Context(), root); err != nil {
			t.Fatal(err)
		}
		if _, _, err := z.get(t.Context(), root+"/none"); err == nil {
			t.Fatal("read a znode that does not exist")
		}
	}
	c, _ := z.ensemble.clients()
	held := 0
	for of := reflect.ValueOf(c.conn).Elem().FieldByName("watchers").MapRange(); of.Next(); {
		held += of.Value().Len()
	}
	if held != 2 || len(c.watches.all) != 2 {
		t.Errorf("the library holds %d watches and we know of %d, want 2: data and children", held, len(c.watches.all))
	}
}

func testLostWatch(t *testing.T, addr, root string) {
	z := open(t, addr, root, session)
	connected(t, z, true)
	ctx := t.Context()
	if err := z.ensure(ctx, root); err != nil {
		t.Fatal(err)
	}
	c, _ := z.ensemble.clients()
	key := watchKey{path: root}
	w, _ := c.watches.of(key)
	c.watches.arm(w, 1) // so we think, but nobody watches
	other := open(t, addr, root, session)
	connected(t, other, true)
	if err := other.set(ctx, root, []byte("1"), anyVersion); err != nil {
		t.Fatal(err)
	}
	if data, _, err := z.get(ctx, root); err != nil || string(data) != "1" {
		t.Fatalf("get = %q, %v; want 1", data, err)
	}
	changed, cancel := z.subscribe()
	defer cancel()
	if err := other.set(ctx, root, []byte("2"), anyVersion); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("no signal: the read that found the watch lost left no new one")
	}
}

func testSignal(t *testing.T, addr, root string) {
	z, other := open(t, addr, root, session), open(t, addr, root, session)
	connected(t, z, true)
	connected(t, other, true)
	ctx := t.Context()
	if err := other.ensure(ctx, root); err != nil {
		t.Fatal(err)
	}
	changed, cancel := z.subscribe()
	defer cancel()
	signal := func(what string, change func() error) {
		t.Helper()
		if _, _, err := z.get(ctx, root); err != nil {
			t.Fatal(err)
		}
		if _, _, err := z.children(ctx, root); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("no signal after: %s", what)
		}
	}
	child := path.Join(root, "child")
	for range 2 {
		signal("data", func() error { return other.set(ctx, root, []byte("x"), anyVersion) })
		signal("child created", func() error { return other.create(ctx, child, nil) })
		signal("child removed", func() error { return other.remove(ctx, child, anyVersion) })
	}
	signal("removed", func() error { return other.remove(ctx, root, anyVersion) })
}

// One of two servers is not there, and the other hangs up now and then.
func testSecondServer(t *testing.T, addr, root string) {
	p := testenv.Proxy(t, addr)
	z := DialZooKeeper(Options{
		Addr: []string{testenv.FreeAddr(t), p.Addr()}, Timeout: 10 * time.Second,
		CometPath: root + "/comet", MessagePath: root + "/message",
	})
	t.Cleanup(z.Close)
	v := observe(t, z)
	m := z.JoinComet("node1", comet(1, 1))
	run(t, m)
	name := m.Name()
	for i := range 3 {
		p.Cut()
		m.Set(comet(1, 2+i))
		v.until(active("node1", comet(1, 2+i), 0))
	}
	if m.Name() != name {
		t.Errorf("own child = %s, want %s: a connection that breaks is no session that expires", m.Name(), name)
	}
}

func TestUnknownHost(t *testing.T) {
	const addr = "no-such-host.invalid:2181"
	z := open(t, addr, "/x", session)
	if _, err := z.JoinMessage(message(1, 1)).base.read(t.Context()); !errors.Is(err, errAway) || !strings.Contains(err.Error(), addr) {
		t.Errorf("read = %v, want errAway naming %s", err, addr)
	}
}

// Connections break, sessions expire and weights change, all at random. In the
// end everybody is registered once, everybody sees the same, and no watcher has
// ever seen the epoch fall.
func testTurmoil(t *testing.T, addr, root string) {
	const daemons, nodes, blows = 9, 3, 60
	random := rand.New(rand.NewPCG(3, 1))
	var epochs [2]atomic.Int64
	var views [2]*view
	for i := range views {
		z := open(t, addr, root, session)
		views[i] = observe(t, z)
		background(t, func(ctx context.Context) error {
			return z.Watch(ctx, func(s Snapshot) {
				if before := epochs[i].Swap(s.Epoch); before > s.Epoch {
					t.Errorf("watcher %d: epoch fell from %d to %d", i, before, s.Epoch)
				}
			})
		})
	}
	type daemon struct {
		z *ZooKeeper
		p *testenv.TCPProxy
		m *Membership
	}
	all := make([]daemon, daemons)
	for i := range all {
		p := testenv.Proxy(t, addr)
		z := open(t, p.Addr(), root, session)
		all[i] = daemon{z, p, z.JoinComet(fmt.Sprintf("node%d", i%nodes), comet(i, 1))}
		run(t, all[i].m)
	}
	for range blows {
		i := random.IntN(daemons)
		switch d := all[i]; random.IntN(4) {
		case 0:
			d.p.Cut()
		case 1:
			d.m.Set(comet(i, 1+random.IntN(100)))
		default:
			if c, _ := d.z.ensemble.clients(); c.session() != 0 {
				_ = endSession(addr, c.session(), password(c)) // an error: it has ended meanwhile
			}
		}
	}
	settled := func(s Snapshot) error {
		if len(s.Comets) != nodes {
			return fmt.Errorf("%d nodes, want %d", len(s.Comets), nodes)
		}
		for i, d := range all {
			n, _ := s.Node(d.m.node)
			mine := 0
			for _, c := range n.Children {
				if c.Name == d.m.Name() && c.Info.equal(d.m.Info()) {
					mine++
				}
			}
			a, _ := n.Active()
			if mine != 1 || len(n.Children) != daemons/nodes || !n.Last.equal(a.Info) || n.Weight != a.Info.Weight {
				return fmt.Errorf("daemon %d as %q in %+v", i, d.m.Name(), n)
			}
		}
		return nil
	}
	first, second := views[0].until(settled), views[1].until(settled)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("two watchers see\n%+v and\n%+v", first, second)
	}
}

// The server is away for longer than sessions live and spare clients wait, and
// nobody loses a session: it is the server that counts, and it was not there.
func TestServerRestart(t *testing.T) {
	server := testenv.ZooKeeper(t)
	z := open(t, server.Addr(), "/test", session)
	v := observe(t, z)
	m, d := z.JoinComet("node1", comet(1, 1)), z.JoinMessage(message(1, 1))
	run(t, m)
	run(t, d)
	before := v.until(active("node1", comet(1, 1), 0))
	names := [2]string{m.Name(), d.Name()}
	server.Stop()
	connected(t, z, false)
	testenv.Eventually(t, patience, func() error {
		if _, spare := z.ensemble.clients(); spare == nil {
			return errors.New("no spare client yet")
		}
		return nil
	})
	server.Start()
	connected(t, z, true)
	late := open(t, server.Addr(), "/test", session)
	run(t, late.JoinComet("node2", comet(2, 1)))
	after := v.until(active("node2", comet(2, 1), 0))
	if after.Epoch <= before.Epoch {
		t.Errorf("epoch = %d, want more than %d", after.Epoch, before.Epoch)
	}
	if got := [2]string{m.Name(), d.Name()}; got != names {
		t.Errorf("children after the restart = %v, want %v as before", got, names)
	}
	testenv.Eventually(t, patience, func() error {
		if _, spare := z.ensemble.clients(); spare != nil {
			return errors.New("the spare client is still there")
		}
		return nil
	})
}

// A wiped server refuses whoever has seen its later transactions. All come back
// without a restart of theirs, and the epoch begins anew. Meanwhile nobody is
// missing.
func TestWipedServer(t *testing.T) {
	server := testenv.ZooKeeper(t)
	first, second := open(t, server.Addr(), "/test", 2*time.Second), open(t, server.Addr(), "/test", 2*time.Second)
	v := observe(t, first)
	m := first.JoinComet("node1", comet(1, 3))
	run(t, m)
	run(t, second.JoinComet("node2", comet(2, 1)))
	run(t, second.JoinMessage(message(1, 1)))
	v.until(active("node2", comet(2, 1), 0))
	for i := range 200 { // so that the new server is surely behind
		if err := second.set(t.Context(), "/test/comet", fmt.Append(nil, i), anyVersion); err != nil {
			t.Fatal(err)
		}
	}
	m.Set(comet(1, 4))
	old := v.until(active("node1", comet(1, 4), 0))
	background(t, func(ctx context.Context) error {
		return first.Watch(ctx, func(s Snapshot) {
			if len(s.Comets) != 2 || len(s.Messages) != 1 || s.Comets[0].Weight != 4 {
				t.Errorf("while they come back, one sees %+v", s)
			}
		})
	})
	server.Wipe()
	fresh := v.until(func(s Snapshot) error {
		if s.Epoch >= old.Epoch {
			return fmt.Errorf("epoch = %d, want less than the old %d", s.Epoch, old.Epoch)
		}
		if len(s.Messages) != 1 {
			return errors.New("want one message")
		}
		return errors.Join(active("node1", comet(1, 4), 0)(s), active("node2", comet(2, 1), 0)(s))
	})
	if fresh.Epoch <= 0 || fresh.Root <= old.Root {
		t.Errorf("epoch = %d of root %d, want more than 0 of one younger than %d", fresh.Epoch, fresh.Root, old.Root)
	}
}
