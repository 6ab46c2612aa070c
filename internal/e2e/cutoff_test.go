package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// TestCutOffCometLearnsFromOthers cuts a comet from ZooKeeper alone. When its
// standby has taken its place it hears so from the others, and lets its clients
// go to where their pushes are.
func TestCutOffCometLearnsFromOthers(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{nodes: []string{"node1", "node1", "node2"}, message: settings{"storage.store": maxStore}})
	cut, standby := c.comets[0], c.comets[1]
	proxy := testenv.Proxy(t, c.zk.Addr())
	cut.configure(t, settings{"zookeeper.addr": []string{proxy.Addr()}})
	c.messages[0].Launch()
	c.webs[0].Launch()
	cut.Start()
	standby.Launch()
	c.comets[2].Launch()
	c.ready()
	book := newLedger()
	followers := c.follow(40, "cutoff")
	home := make(map[*follower]*daemon)
	for _, f := range followers {
		home[f] = c.owner(f.key)
	}
	stop := c.pushAll(book, followers, 50)

	proxy.Refuse()
	testenv.Eventually(t, 30*time.Second, func() error { // a session of 4 s, and a question every 5 s
		for _, f := range followers {
			if lost, _ := f.times(); home[f] == cut && (len(lost) == 0 || !f.connected()) {
				return fmt.Errorf("%s is still with the comet that has lost its place", f.key)
			}
		}
		return nil
	})
	for _, f := range followers {
		now, want := c.owner(f.key), home[f]
		if want == cut {
			want = standby
		}
		if now != want {
			t.Errorf("%s lives at %s, want %s", f.key, now.tcp, want.tcp)
		}
		if lost, _ := f.times(); home[f] != cut && len(lost) > 0 {
			t.Errorf("%s lost its connection, though its comet is fine", f.key)
		}
	}
	if reply, err := knock(cut.tcp, followers[0].key); reply != "-n\r\n" {
		t.Errorf("who is cut off answers %q, %v, want -n", reply, err)
	}
	stop()
	c.caughtUp(book, followers)
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}

	proxy.Accept()
	testenv.Eventually(t, 20*time.Second, func() error { // it stands by now
		names, _, err := c.dialZK().Children(cometPath + "/node1")
		if err == nil && len(names) != 2 {
			err = fmt.Errorf("node1 has the children %q, want two", names)
		}
		return err
	})
	testenv.Eventually(t, 15*time.Second, c.agree)
}

// TestNoZombie cuts a comet from everybody. After half a minute it lets its
// clients go, and it takes them again when a web is back. E2E_LONG=1 runs it;
// comet's own tests do the same on a clock that does not keep anybody waiting.
func TestNoZombie(t *testing.T) {
	if os.Getenv("E2E_LONG") == "" {
		t.Skip("it waits for most of a minute: E2E_LONG=1 runs it")
	}
	t.Parallel()
	c := start(t, options{proxied: true})
	d := c.comets[0]
	cl := c.subscribe("zombie", "", "1.0")
	c.proxy.Refuse()
	c.messages[0].Pause()
	c.webs[0].Pause()
	time.Sleep(15 * time.Second) // half of what it waits
	cl.beat()
	cl.deadline(60 * time.Second)
	if line, err := cl.in.ReadString('\n'); line != "-n\r\n" {
		t.Fatalf("read %q, %v, want -n", line, err)
	}
	cl.wantClosed(patience)
	if reply, err := knock(d.tcp, "zombie"); reply != "-n\r\n" {
		t.Errorf("a comet that is alone answers %q, %v, want -n", reply, err)
	}
	if d.readyz() == nil {
		t.Error("a comet that is alone is ready")
	}
	c.webs[0].Resume()
	testenv.Eventually(t, 20*time.Second, func() error {
		reply, err := knock(d.tcp, "zombie")
		if err == nil && reply != "+h\r\n" {
			err = fmt.Errorf("the comet answers %q", reply)
		}
		return err
	})
	c.messages[0].Resume()
	c.proxy.Accept()
	testenv.Eventually(t, 20*time.Second, func() error {
		ret, err := c.push(c.webs[0], "zombie", 600, `"back"`)
		if err == nil && ret != 0 {
			err = fmt.Errorf("push: ret %d", ret)
		}
		return err
	})
}
