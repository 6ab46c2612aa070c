package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// reapCluster is a cluster in which webs reach each comet, and comets reach
// ZooKeeper, through a proxy; webs reach ZooKeeper directly.
type reapCluster struct {
	*cluster
	rpc     []*testenv.TCPProxy // in front of each comet
	zoo     *testenv.TCPProxy   // between the comets and ZooKeeper
	conn    *zk.Conn
	session time.Duration // zookeeper.timeout
}

// startReapCluster starts a cluster that is quick to give a comet up, or, with
// defaults, one that leaves zookeeper.timeout and reap.* to the daemons.
func startReapCluster(t *testing.T, defaults bool) *reapCluster {
	t.Helper()
	o := options{
		nodes:   []string{"node1", "node2", "node3"},
		webs:    2,
		web:     settings{"reap.grace": "2s", "reap.window": "6s", "reap.failures": 4, "reap.interval": "1s"},
		message: settings{"storage.store": maxStore},
	}
	c := &reapCluster{session: 4 * time.Second} // see prepare
	if defaults {
		c.session = 10 * time.Second
		ours := settings{"zookeeper.timeout": nil}
		o.comet, o.web, o.message = ours, ours, o.message.with(ours)
	}
	c.cluster = prepare(t, o)
	c.zoo = testenv.Proxy(t, c.zk.Addr())
	for _, d := range c.comets {
		p := testenv.Proxy(t, d.rpc)
		c.rpc = append(c.rpc, p)
		d.configure(t, settings{"rpc.advertise": []string{p.Addr()}, "zookeeper.addr": []string{c.zoo.Addr()}})
	}
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	c.conn = c.dialZK()
	return c
}

// born returns which transaction made each node; one that was taken out of the
// ring and came back has another.
func (c *reapCluster) born() (map[string]int64, error) {
	names, _, err := c.conn.Children(cometPath)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]int64)
	for _, name := range names {
		_, stat, err := c.conn.Exists(cometPath + "/" + name)
		if err != nil {
			return nil, err
		}
		nodes[name] = stat.Czxid
	}
	return nodes, nil
}

func (c *reapCluster) mustBorn() map[string]int64 {
	c.t.Helper()
	nodes, err := c.born()
	if err != nil {
		c.t.Fatal(err)
	}
	return nodes
}

// gone returns nil when the node is not there as it was born.
func (c *reapCluster) gone(node string, was int64) error {
	nodes, err := c.born()
	if err == nil && nodes[node] == was {
		err = fmt.Errorf("%s is in the ring still", node)
	}
	return err
}

// same fails the test if a node was taken out since before.
func (c *reapCluster) same(before map[string]int64) {
	c.t.Helper()
	now := c.mustBorn()
	for node, was := range before {
		if now[node] != was {
			c.t.Errorf("%s was taken out of the ring", node)
		}
	}
}

// registered returns nil when want children are registered under each node.
func (c *reapCluster) registered(want int, nodes ...string) error {
	for _, node := range nodes {
		names, _, err := c.conn.Children(cometPath + "/" + node)
		if err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
		if len(names) != want {
			return fmt.Errorf("under %s are registered %q, want %d", node, names, want)
		}
	}
	return nil
}

// TestReap: webs take dead comets out of the ring, and nobody who lives. The
// steps build on each other.
func TestReap(t *testing.T) {
	t.Parallel()
	c := startReapCluster(t, false)
	all := []string{"node1", "node2", "node3"}
	c.steps([]reapStep{
		{"frozen for 3 s: nothing", testReapBriefly},
		{"webs cut off from the comets: nothing", func(t *testing.T, c *reapCluster) {
			before := c.mustBorn()
			cl := c.subscribe(c.keyOf(c.comets[1], "cut"), "", "1.0")
			for _, p := range c.rpc {
				p.Refuse()
			}
			time.Sleep(9 * time.Second) // more than reap.window
			for _, p := range c.rpc {
				p.Accept()
			}
			cl.beat()
			c.same(before)
		}},
		{"all sessions expired at once: nothing", func(t *testing.T, c *reapCluster) {
			before := c.mustBorn()
			key := c.keyOf(c.comets[2], "expired")
			cl := c.subscribe(key, "", "1.0")
			c.zoo.Refuse()
			testenv.Eventually(t, 30*time.Second, func() error { return c.registered(0, all...) })
			time.Sleep(4 * time.Second) // more than reap.grace
			c.zoo.Accept()
			testenv.Eventually(t, 30*time.Second, func() error { return c.registered(1, all...) })
			testenv.Eventually(t, patience, c.agree)
			c.same(before)
			c.mustPush(key, `"kept"`)
			if m := cl.message(); m.msg != `"kept"` {
				t.Errorf("live %v", m)
			}
		}},
		{"one hangs: out, and back by itself", func(t *testing.T, c *reapCluster) {
			before := c.mustBorn()
			c.rpc[1].Hold(true, true)
			testenv.Eventually(t, 30*time.Second, func() error { return c.gone("node2", before["node2"]) })
			delete(before, "node2")
			c.same(before)
			c.rpc[1].Hold(false, false)
			testenv.Eventually(t, 30*time.Second, func() error { return c.registered(1, all...) })
			testenv.Eventually(t, 30*time.Second, c.agree)
		}},
		{"killed: its keys live elsewhere, with all that was pushed", testReapKilled},
		{"frozen for long: out, and on waking in its place again", func(t *testing.T, c *reapCluster) {
			testReapFrozen(t, c, 0)
		}},
	})
}

// TestReapByDefault is TestReap with the settings that the daemons have by
// themselves, and with a comet that is frozen for a minute. E2E_LONG=1 asks for it.
func TestReapByDefault(t *testing.T) {
	if os.Getenv("E2E_LONG") != "1" {
		t.Skip("E2E_LONG is not 1: this test takes two minutes")
	}
	t.Parallel()
	startReapCluster(t, true).steps([]reapStep{
		{"frozen for 3 s: nothing", testReapBriefly},
		{"killed: its keys live elsewhere, with all that was pushed", testReapKilled},
		{"frozen for 60 s: out, and on waking in its place again", func(t *testing.T, c *reapCluster) {
			testReapFrozen(t, c, time.Minute)
		}},
	})
}

// reapStep is a part of a test; each builds on those before it.
type reapStep struct {
	name string
	run  func(t *testing.T, c *reapCluster)
}

// steps runs them in turn until one fails.
func (c *reapCluster) steps(steps []reapStep) {
	for _, step := range steps {
		ok := c.t.(*testing.T).Run(step.name, func(t *testing.T) {
			sub := *c
			sub.cluster = c.with(t)
			step.run(t, &sub)
		})
		if !ok {
			return
		}
	}
}

func testReapBriefly(t *testing.T, c *reapCluster) {
	before := c.mustBorn()
	cl := c.subscribe(c.keyOf(c.comets[0], "frozen"), "", "1.0")
	c.comets[0].Pause()
	time.Sleep(3 * time.Second) // the freeze is the point
	c.comets[0].Resume()
	cl.beat()
	testenv.Eventually(t, patience, c.agree)
	cl.beat()
	c.same(before)
}

func testReapKilled(t *testing.T, c *reapCluster) {
	before := c.mustBorn()
	book := newLedger()
	key := c.keyOf(c.comets[0], "killed")
	cl := c.subscribe(key, "", "1.0")
	if ret, err := c.try(book, c.webs[0], key, `"before"`); ret != 0 || err != nil {
		t.Fatalf("push: ret %d, %v", ret, err)
	}
	last := cl.message()
	c.comets[0].Kill()
	killed := time.Now()
	n := 0
	testenv.Eventually(t, 40*time.Second, func() error {
		if n < maxStore/2 {
			_, _ = c.try(book, c.webs[n%2], key, fmt.Sprint(n)) // noted
			n++
		}
		return c.gone("node1", before["node1"])
	})
	// Our promise, and what a busy machine may add to it.
	took := time.Since(killed)
	if took > c.session+10*time.Second+busyTime {
		t.Errorf("out of the ring after %v, want session timeout + 10 s", took)
	}
	t.Logf("out of the ring %v after SIGKILL, session timeout %v", took.Round(100*time.Millisecond), c.session)
	if len(book.acked[key]) == 0 {
		t.Error("not one push was acknowledged while the comet was dead")
	}
	delete(before, "node1")
	c.same(before)
	var heir *daemon
	testenv.Eventually(t, patience, func() error {
		heir = nil
		for _, w := range c.webs {
			addr, err := serverOf(w, key)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(c.comets, func(d *daemon) bool { return d.tcp == addr })
			if i <= 0 || heir != nil && c.comets[i] != heir {
				return fmt.Errorf("a web names %s", addr)
			}
			heir = c.comets[i]
		}
		reply, err := knock(heir.tcp, key)
		if err == nil && reply != "+h\r\n" {
			err = fmt.Errorf("the heir answers %q", reply)
		}
		return err
	})
	next := c.subscribe(key, "", "1.0")
	book.check(c.cluster)
	for _, m := range c.mustFetch(key, last.mid) {
		if m.mid <= last.mid {
			t.Errorf("fetched %v after %v", m, last)
		}
		last = m
	}
	c.mustPush(key, `"after"`)
	if m := next.message(); m.msg != `"after"` || m.mid <= last.mid {
		t.Errorf("live at the heir %v after %v", m, last)
	}
	c.comets[0].Start()
	testenv.Eventually(t, 30*time.Second, c.agree)
}

// testReapFrozen freezes a comet until it is out of the ring, and for at least
// this long.
func testReapFrozen(t *testing.T, c *reapCluster, least time.Duration) {
	before := c.mustBorn()
	key := c.keyOf(c.comets[2], "frozen")
	cl := dialTCP(t, c.comets[2].tcp)
	cl.send(command("sub", key, "10000", "", "1.0")) // not a heartbeat shall end it
	cl.want("+h\r\n")
	c.comets[2].Pause()
	frozen := time.Now()
	testenv.Eventually(t, 40*time.Second, func() error { return c.gone("node3", before["node3"]) })
	t.Logf("out of the ring %v after it froze", time.Since(frozen).Round(100*time.Millisecond))
	testenv.Eventually(t, patience, func() error {
		addr, err := serverOf(c.webs[0], key)
		if err == nil && addr == c.comets[2].tcp {
			err = errors.New("web names the frozen comet")
		}
		if err != nil {
			return err
		}
		reply, err := knock(addr, key) // the heir may read the ring a moment after web
		if err == nil && reply == "-n\r\n" {
			err = errors.New("the heir does not know yet")
		}
		return err
	})
	heir := c.subscribe(key, "", "1.0") // as its client does when no heartbeat is answered
	c.mustPush(key, `"while frozen"`)
	if m := heir.message(); m.msg != `"while frozen"` {
		t.Errorf("live at the heir %v", m)
	}
	delete(before, "node3")
	c.same(before)
	time.Sleep(least - time.Since(frozen)) // the freeze is the point
	c.comets[2].Resume()
	woken := time.Now()
	testenv.Eventually(t, 30*time.Second, func() error { return c.registered(1, "node3") })
	t.Logf("registered again %v after it woke up", time.Since(woken).Round(100*time.Millisecond))
	testenv.Eventually(t, 30*time.Second, c.agree)
	again := c.subscribe(key, "", "1.0")
	if kept := c.mustFetch(key, 0); len(kept) != 1 || kept[0].msg != `"while frozen"` {
		t.Errorf("kept are %v", kept)
	}
	c.mustPush(key, `"awake"`)
	if m := again.message(); m.msg != `"awake"` {
		t.Errorf("live %v", m)
	}
	// Who sat on the frozen comet was sent away, or misses nothing there.
	for _, want := range []string{`"while frozen"`, `"awake"`} {
		body, err := cl.read(patience)
		if err != nil {
			t.Logf("its client was sent away: %v", err)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("its client did not hear %s", want)
			}
			break
		}
		if m, err := parseMessage(body); err != nil || m.msg != want {
			t.Errorf("its client heard %s, want %s", body, want)
		}
	}
}
