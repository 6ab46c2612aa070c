package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// TestZooKeeperForgets takes ZooKeeper's data away under load: all of it, or what
// came after a copy was made, of which one comet is. Its transactions begin
// again below those that the daemons have seen, so it refuses them, and each of
// them finds out for itself that its session is gone for good; some much sooner
// than the others. At no time does any of them see another ring, nobody is sent
// away, no push fails, and afterwards the ring changes as ever.
func TestZooKeeperForgets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		save func(z *testenv.ZooKeeperServer) (lose func())
	}{
		{"all", func(z *testenv.ZooKeeperServer) func() { return z.Wipe }},
		{"what came after a copy", (*testenv.ZooKeeperServer).Save},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			forgets(t, tt.save)
		})
	}
}

func forgets(t *testing.T, save func(z *testenv.ZooKeeperServer) (lose func())) {
	c := prepare(t, options{
		nodes: []string{"node1", "node2", "node3"}, webs: 2, messages: 2,
		comet:   settings{"legacy.hold": "200ms"},
		message: settings{"storage.store": maxStore},
	})
	late := c.comets[2]
	quick := []*daemon{c.webs[0], c.comets[1], c.messages[0]} // find out some seconds before the others
	for _, d := range c.daemons() {
		timeout := "3s"
		if slices.Contains(quick, d) {
			timeout = "1s"
		}
		d.configure(t, settings{"zookeeper.timeout": timeout})
		if d != late {
			d.Launch()
		}
	}
	for _, d := range c.daemons() {
		if d != late {
			d.WaitReady()
		}
	}
	lose := save(c.zk)
	late.Launch()
	c.ready()
	c.gainZxids(t)
	c.gopush("weight", "node2", "2") // everybody reads what is of a late transaction
	want := viewReply{
		Nodes: map[string]int{"node1": 1, "node2": 2, "node3": 1},
		Addrs: map[string][]string{"node1": {c.comets[0].rpc}, "node2": {c.comets[1].rpc}, "node3": {late.rpc}},
	}
	agree := func() {
		t.Helper()
		a := &agreeing{cluster: c, conn: c.dialZK()}
		testenv.Eventually(t, 60*time.Second, func() error {
			ring, _, err := a.ring()
			if want.Epoch = ring.Epoch; err == nil && !ring.equal(want) {
				err = fmt.Errorf("ZooKeeper holds %+v, want %+v", ring, want)
			}
			if err == nil {
				err = a.allSee(ring)
			}
			return err
		})
	}
	agree()
	book := newLedger()
	followers := c.follow(90, "forgets")
	stop := c.pushAll(book, followers, 60)

	old, begun := want.Epoch, time.Now()
	lose()
	testenv.Eventually(t, 60*time.Second, func() error {
		unaware := 0
		for _, d := range c.daemons() {
			got, err := d.view()
			if err != nil {
				t.Fatal(err)
			}
			if got.Epoch >= old {
				unaware++
			}
			if got.Epoch = want.Epoch; !got.equal(want) {
				t.Fatalf("%v after ZooKeeper went %s%v sees %+v, want at no time another ring than %+v", time.Since(begun), d.kind, d.stat, got, want)
			}
		}
		if unaware > 0 {
			return fmt.Errorf("%d daemons have not read the new ZooKeeper", unaware)
		}
		return nil
	})
	agree()
	conn := c.dialZK()
	testenv.Eventually(t, 20*time.Second, func() error {
		m, err := members(conn, cometPath+"/node1", cometPath+"/node2", cometPath+"/node3")
		if err == nil && len(m) != 5 {
			err = fmt.Errorf("registered are %q, want three comets and two messages", m)
		}
		return err
	})
	t.Logf("all have found each other again after %v", time.Since(begun).Round(100*time.Millisecond))
	for _, d := range c.daemons() {
		testenv.Eventually(t, 15*time.Second, d.readyz)
	}
	for _, f := range followers {
		if lost, _ := f.times(); len(lost) > 0 {
			t.Errorf("%s was disconnected %v after ZooKeeper went", f.key, lost[0].Sub(begun))
		}
	}

	c.gopush("weight", "node3", "3")
	want.Nodes["node3"] = 3
	agree()
	if code := c.comets[0].Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	delete(want.Nodes, "node1")
	delete(want.Addrs, "node1")
	agree()
	stop()
	c.comets = c.comets[1:]
	c.caughtUp(book, followers)
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}
}

// gainZxids has ZooKeeper carry out more transactions than a new one will soon
// have seen.
func (c *cluster) gainZxids(t *testing.T) {
	t.Helper()
	conn := c.dialZK()
	defer conn.Close()
	if _, err := conn.Create("/gain", nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := conn.Set("/gain", nil, -1); err != nil {
			t.Fatal(err)
		}
	}
}
