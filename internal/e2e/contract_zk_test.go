package e2e

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// dialZK connects to the cluster's ZooKeeper, past any proxy.
func (c *cluster) dialZK() *zk.Conn {
	c.t.Helper()
	conn, _, err := zk.Connect([]string{c.zk.Addr()}, 10*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(conn.Close)
	return conn
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// testZnodes proves docs/protocol.md, "ZooKeeper".
func testZnodes(t *testing.T, c *cluster) {
	conn := c.dialZK()
	read := func(path string) (string, *zk.Stat) {
		t.Helper()
		data, stat, err := conn.Get(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return string(data), stat
	}
	child := func(path string) string {
		t.Helper()
		names, _, err := conn.Children(path)
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: children %q, %v, want one", path, names, err)
		}
		if !regexp.MustCompile(`^\d{10}$`).MatchString(names[0]) {
			t.Errorf("%s: child %q, want a sequence alone", path, names[0])
		}
		return path + "/" + names[0]
	}
	for i, d := range c.comets {
		node := fmt.Sprintf("%s/node%d", cometPath, i+1)
		want := fmt.Sprintf(`{"rpc":["%s"],"tcp":["%s"],"ws":["%s"],"weight":1}`, d.rpc, d.tcp, d.ws)
		if data, stat := read(child(node)); data != want || stat.EphemeralOwner == 0 {
			t.Errorf("child of %s: %s, ephemeral owner %#x, want ephemeral %s", node, data, stat.EphemeralOwner, want)
		}
		if data, stat := read(node); data != want || stat.EphemeralOwner != 0 {
			t.Errorf("%s: %s, ephemeral owner %#x, want persistent, with the active child's data", node, data, stat.EphemeralOwner)
		}
	}
	want := fmt.Sprintf(`{"rpc":["%s"],"weight":2}`, c.messages[0].rpc)
	if data, stat := read(child(messagePath)); data != want || stat.EphemeralOwner == 0 {
		t.Errorf("message: %s, ephemeral owner %#x, want ephemeral %s", data, stat.EphemeralOwner, want)
	}
	for _, root := range []string{cometPath, messagePath} {
		if _, stat := read(root); stat.EphemeralOwner != 0 {
			t.Errorf("%s is ephemeral", root)
		}
	}
}
