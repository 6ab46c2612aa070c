package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// members returns the paths of all ephemeral children, sorted.
func members(conn *zk.Conn, nodes ...string) ([]string, error) {
	var out []string
	for _, parent := range append(nodes, messagePath) {
		names, _, err := conn.Children(parent)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", parent, err)
		}
		for _, n := range names {
			out = append(out, parent+"/"+n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// TestZooKeeperAway stops ZooKeeper for longer than a session lasts. Nobody is
// disconnected, and pushes and connects go on. ZOOKEEPER_DOWN asks for more
// seconds than 6.
func TestZooKeeperAway(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, webs: 2})
	keys := []string{c.keyOf(c.comets[0], "away"), c.keyOf(c.comets[1], "away")}
	var clients []*tcpClient
	for _, key := range keys {
		clients = append(clients, c.subscribe(key, "", "1.0"))
	}
	n := 0
	works := func() {
		t.Helper()
		for i, key := range keys {
			n++
			c.mustPush(key, fmt.Sprint(n))
			if m := clients[i].message(); m.msg != fmt.Sprint(n) {
				t.Fatalf("%s: live %v, want %d", key, m, n)
			}
			clients[i].beat()
			c.subscribe(key).close()
			if err := c.agree(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.zk.Kill()
	down := time.Duration(number(t, "ZOOKEEPER_DOWN", 6)) * time.Second
	for end := time.Now().Add(down); time.Now().Before(end); {
		works()
		time.Sleep(200 * time.Millisecond) // the outage is the point
	}
	c.zk.Start()
	works()
	conn := c.dialZK()
	testenv.Eventually(t, 20*time.Second, func() error {
		m, err := members(conn, cometPath+"/node1", cometPath+"/node2")
		if err == nil && len(m) != 3 {
			err = fmt.Errorf("registered are %q, want two comets and a message", m)
		}
		return err
	})
	works()
	for _, d := range c.daemons() {
		testenv.Eventually(t, 15*time.Second, d.readyz)
	}
}

// TestSessionsExpire cuts everybody from ZooKeeper for longer than their
// sessions last: all register again, and no client notices.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, proxied: true})
	conn := c.dialZK() // not through the proxy
	nodes := []string{cometPath + "/node1", cometPath + "/node2"}
	before, err := members(conn, nodes...)
	if err != nil || len(before) != 3 {
		t.Fatalf("registered are %q, %v, want three", before, err)
	}
	key := c.keyOf(c.comets[0], "expire")
	cl := c.subscribe(key, "", "1.0")
	c.proxy.Refuse()
	testenv.Eventually(t, 15*time.Second, func() error {
		m, err := members(conn, nodes...)
		if err == nil && len(m) > 0 {
			err = fmt.Errorf("still registered are %q", m)
		}
		return err
	})
	cl.beat()
	c.mustPush(key, `"unregistered"`)
	if m := cl.message(); m.msg != `"unregistered"` {
		t.Errorf("live %v", m)
	}
	c.proxy.Accept()
	testenv.Eventually(t, 20*time.Second, func() error {
		m, err := members(conn, nodes...)
		if err != nil {
			return err
		}
		for _, name := range m {
			if slices.Contains(before, name) {
				return fmt.Errorf("%s is of an expired session", name)
			}
		}
		if len(m) != 3 {
			return fmt.Errorf("registered are %q, want three", m)
		}
		return nil
	})
	testenv.Eventually(t, 15*time.Second, c.agree)
	cl.beat()
	c.mustPush(key, `"again"`)
	if m := cl.message(); m.msg != `"again"` {
		t.Errorf("live %v", m)
	}
}

// TestStandby starts two comets under one name: the first serves, the other
// answers -n, and takes over when the first leaves.
func TestStandby(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{nodes: []string{"node1", "node1"}})
	c.messages[0].Launch()
	c.webs[0].Launch()
	c.comets[0].Start()
	c.comets[1].Start()
	c.ready()
	active, standby := c.comets[0], c.comets[1]
	if d := c.owner("standby"); d != active {
		t.Fatalf("%s serves, want the one that registered first, %s", d.tcp, active.tcp)
	}
	if reply, err := knock(standby.tcp, "standby"); reply != "-n\r\n" {
		t.Errorf("the standby answers %q, %v, want -n", reply, err)
	}
	c.mustPush("standby", `"before"`)
	if code := active.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	testenv.Eventually(t, 15*time.Second, func() error {
		reply, err := knock(standby.tcp, "standby")
		if err == nil && reply != "+h\r\n" {
			err = fmt.Errorf("the standby answers %q", reply)
		}
		return err
	})
	testenv.Eventually(t, 15*time.Second, func() error {
		addr, err := serverOf(c.webs[0], "standby")
		if err == nil && addr != standby.tcp {
			err = fmt.Errorf("web names %s, want the standby %s", addr, standby.tcp)
		}
		return err
	})
	cl := c.subscribe("standby", "", "1.0")
	c.mustPush("standby", `"after"`)
	if m := cl.message(); m.msg != `"after"` {
		t.Errorf("live %v", m)
	}
	if m := c.mustFetch("standby", 0); len(m) != 2 {
		t.Errorf("kept %v, want both", m)
	}
}

// TestLeave proves what SIGTERM does: the daemon leaves the ring, says goodbye
// and ends clean, and the rest goes on without it, not one push failing.
func TestLeave(t *testing.T) {
	t.Parallel()
	c := start(t, options{
		nodes: []string{"node1", "node2"}, webs: 2, messages: 2,
		message: settings{"storage.store": maxStore},
	})
	book := newLedger()
	stop := c.load(book, "load")
	conn := c.dialZK()
	key := c.keyOf(c.comets[0], "leave")
	cl, ws := c.subscribe(key), c.subscribeWS(key, "")
	c.mustPush(key, `"before"`)

	if code := c.comets[0].Stop(); code != 0 {
		t.Errorf("comet: exit code %d, want 0", code)
	}
	for { // what was pushed, and then the end
		if _, err := cl.read(patience); err != nil {
			break
		}
	}
	for {
		if op, _, err := ws.frame(patience); err != nil || op == opClose {
			break
		}
	}
	if ok, _, err := conn.Exists(cometPath + "/node1"); ok || err != nil {
		t.Errorf("the node of a comet that has left exists: %v, %v", ok, err)
	}
	left := c.comets[0]
	c.comets = c.comets[1:]
	testenv.Eventually(t, 15*time.Second, c.agree)
	moved := c.subscribe(key, "", "1.0")
	c.mustPush(key, `"moved"`)
	if m := moved.message(); m.msg != `"moved"` {
		t.Errorf("live %v", m)
	}
	if m := c.mustFetch(key, 0); len(m) != 2 {
		t.Errorf("kept %v, want both", m)
	}

	if code := c.messages[0].Stop(); code != 0 {
		t.Errorf("message: exit code %d, want 0", code)
	}
	if m, err := members(conn, cometPath+"/node2"); err != nil || len(m) != 2 {
		t.Errorf("registered are %q, %v, want one comet and one message", m, err)
	}
	c.mustPush(key, `"one message less"`)
	if m := moved.message(); m.msg != `"one message less"` {
		t.Errorf("live %v", m)
	}
	if code := c.webs[1].Stop(); code != 0 {
		t.Errorf("web: exit code %d, want 0", code)
	}
	c.mustPush(key, `"one web less"`)
	moved.message()

	stop()
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}

	// And back: the ring is what it was.
	c.webs = c.webs[:1]
	left.Start()
	c.comets = append([]*daemon{left}, c.comets...)
	testenv.Eventually(t, 15*time.Second, c.agree)
	if c.owner(key) != left {
		t.Error("the key has not come back to its comet")
	}
}
