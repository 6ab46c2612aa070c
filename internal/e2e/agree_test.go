package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// viewReply is the answer of CometRPC.View and MessageRPC.View.
type viewReply struct {
	Nodes map[string]int
	Epoch int64
	Addrs map[string][]string // of the active comets, or the last that were known
}

func (v viewReply) equal(o viewReply) bool {
	return v.Epoch == o.Epoch && maps.Equal(v.Nodes, o.Nodes) && maps.EqualFunc(v.Addrs, o.Addrs, slices.Equal[[]string])
}

// agreeTime is our promise: so long after the last change all see one ring.
// busyTime is what a busy machine may add to it.
const (
	agreeTime = 5 * time.Second
	busyTime  = 5 * time.Second
)

// agreeing measures how long after a change of the ring all daemons agree.
type agreeing struct {
	*cluster
	conn    *zk.Conn
	serving map[string]*daemon // node → who is to be its active comet
}

// TestAllSeeOneRing changes the ring in all the ways there are and reads it from
// ZooKeeper and from each daemon: both webs, the three comets and the message
// see the same nodes, weights, addresses and epoch, which are ZooKeeper's, in
// the promised time after the last change.
func TestAllSeeOneRing(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{nodes: []string{"node1", "node2", "node3", "node3"}, webs: 2, web: settings{"reap.grace": "2s"}})
	zoo := testenv.Proxy(t, c.zk.Addr()) // between the comets and ZooKeeper
	for _, d := range c.comets {
		d.configure(t, settings{"zookeeper.addr": []string{zoo.Addr()}})
	}
	one, two, three, standby := c.comets[0], c.comets[1], c.comets[2], c.comets[3]
	for _, d := range []*daemon{c.messages[0], c.webs[0], c.webs[1], one, two} {
		d.Start()
	}
	a := &agreeing{c, c.dialZK(), map[string]*daemon{"node1": one, "node2": two}}
	weights := func(ws ...int) map[string]int {
		m := make(map[string]int)
		for i, w := range ws {
			if w > 0 {
				m[fmt.Sprintf("node%d", i+1)] = w
			}
		}
		return m
	}

	a.after("two comets start", func() {}, weights(1, 1), 2)
	a.serving["node3"] = three
	a.after("a third joins", three.Launch, weights(1, 1, 1), 3)
	a.after("weights change", func() {
		for w := 2; w <= 4; w++ {
			a.operate("weight", "node2", "weight", w)
			a.operate("weight", "node1", "weight", w+3)
		}
	}, weights(7, 4, 1), 3)
	a.after("one leaves (SIGTERM)", func() { one.Signal(syscall.SIGTERM) }, weights(0, 4, 1), 2)
	one.WaitExit(patience)
	a.after("and joins again", one.Launch, weights(1, 4, 1), 3)
	a.after("one is drained", func() { a.operate("drain", "node1", "", 0) }, weights(0, 4, 1), 2)
	one.WaitExit(patience)
	a.after("and joins again", one.Launch, weights(1, 4, 1), 3)
	a.after("one is killed and reaped", two.Kill, weights(1, 0, 1), 2)
	a.after("and joins again", two.Launch, weights(1, 1, 1), 3)
	a.after("a standby comes", standby.Launch, weights(1, 1, 1), 4)
	a.serving["node3"] = standby
	a.after("and takes over from the dead", three.Kill, weights(1, 1, 1), 3)
	zoo.Refuse()
	testenv.Eventually(t, 30*time.Second, func() error { return a.registered(0) })
	a.after("all sessions of comets expired", zoo.Accept, weights(1, 1, 1), 3)
}

// after makes a change and waits until ZooKeeper holds what is wanted, a ring of
// nodes under which so many comets are registered, and all daemons agree to it.
func (a *agreeing) after(what string, change func(), nodes map[string]int, registered int) {
	a.t.Helper()
	addrs := make(map[string][]string)
	for node := range nodes {
		addrs[node] = []string{a.serving[node].rpc}
	}
	var ring viewReply // as ZooKeeper holds it
	looked := time.Now()
	changed, agreed := looked, time.Time{}
	change()
	testenv.Eventually(a.t, 40*time.Second, func() error {
		begin := time.Now()
		now, n, err := a.ring()
		if err != nil {
			return err
		}
		if !now.equal(ring) { // at some time after we looked before
			ring, changed, agreed = now, looked, time.Time{}
		}
		looked = begin
		if n != registered || !maps.Equal(ring.Nodes, nodes) || !maps.EqualFunc(ring.Addrs, addrs, slices.Equal[[]string]) {
			return fmt.Errorf("%s: ZooKeeper holds %+v with %d registered, want %v at %v with %d", what, ring, n, nodes, addrs, registered)
		}
		if err := a.allSee(ring); err != nil {
			agreed = time.Time{}
			return fmt.Errorf("%s: %w", what, err)
		}
		if agreed.IsZero() {
			agreed = time.Now()
		}
		if time.Since(agreed) < 500*time.Millisecond {
			return fmt.Errorf("%s: that may not have been the last change", what)
		}
		return nil
	})
	took := agreed.Sub(changed)
	a.t.Logf("%-31s all %d daemons agree %4d ms after the last change", what, a.running(), took.Milliseconds())
	if took > agreeTime+busyTime {
		a.t.Errorf("%s: agreed after %v, want %v", what, took, agreeTime)
	}
}

// operate does what gopush weight and gopush drain do, in no time of its own.
func (a *agreeing) operate(what, node, key string, value int) {
	a.t.Helper()
	at := fmt.Sprintf("/1/admin/node/%s?node=%s&%s=%d", what, node, key, value)
	if ret, _, err := a.post(a.webs[0], at, ""); ret != 0 || err != nil {
		a.t.Fatalf("%s: ret %d, %v", at, ret, err)
	}
}

// allSee returns nil if each daemon that runs sees ring.
func (a *agreeing) allSee(ring viewReply) error {
	for _, d := range a.daemons() {
		if !d.Running() {
			continue
		}
		got, err := d.view()
		if err != nil {
			return err
		}
		if !got.equal(ring) {
			return fmt.Errorf("%s%v sees %+v, ZooKeeper holds %+v", d.kind, d.stat, got, ring)
		}
	}
	return nil
}

// view returns the ring as d sees it.
func (d *daemon) view() (viewReply, error) {
	switch d.kind {
	case "comet":
		return ask[viewReply](d.rpc, "CometRPC.View", 0)
	case "message":
		return ask[viewReply](d.rpc, "MessageRPC.View", 0)
	default:
		return nodesOf(d)
	}
}

func (a *agreeing) running() (n int) {
	for _, d := range a.daemons() {
		if d.Running() {
			n++
		}
	}
	return n
}

// registered returns nil if n comets are registered.
func (a *agreeing) registered(n int) error {
	_, got, err := a.ring()
	if err == nil && got != n {
		err = fmt.Errorf("%d comets are registered, want %d", got, n)
	}
	return err
}

// ring reads the ring from ZooKeeper as docs/design/ring.md says, and how many
// comets are registered there. What changes meanwhile is an error.
func (a *agreeing) ring() (viewReply, int, error) {
	ring, n, err := a.ringOnce()
	if err != nil {
		return ring, n, err
	}
	again, m, err := a.ringOnce()
	if err == nil && (n != m || !ring.equal(again)) {
		err = errors.New("the ring changes")
	}
	return ring, n, err
}

func (a *agreeing) ringOnce() (viewReply, int, error) {
	ring := viewReply{Nodes: make(map[string]int), Addrs: make(map[string][]string)}
	registered := 0
	names, root, err := a.conn.Children(cometPath)
	if err != nil {
		return ring, 0, err
	}
	ring.Epoch = root.Pzxid
	for _, name := range names {
		at := cometPath + "/" + name
		children, _, err := a.conn.Children(at)
		if err != nil {
			return ring, 0, err
		}
		data, node, err := a.conn.Get(at)
		if err != nil {
			return ring, 0, err
		}
		ring.Epoch = max(ring.Epoch, node.Pzxid, node.Mzxid)
		registered += len(children)
		if len(children) > 0 { // all sequences have ten digits
			var active *zk.Stat
			if data, active, err = a.conn.Get(at + "/" + slices.Min(children)); err != nil {
				return ring, 0, err
			}
			ring.Epoch = max(ring.Epoch, active.Mzxid)
		}
		var info struct {
			RPC    []string
			Weight int
		}
		if err := json.Unmarshal(data, &info); err != nil {
			return ring, 0, fmt.Errorf("%s holds %q: %w", at, data, err)
		}
		ring.Nodes[name], ring.Addrs[name] = info.Weight, info.RPC
	}
	return ring, registered, nil
}

// nodesOf returns the ring as a web sees it, which is what gopush nodes shows.
func nodesOf(web *daemon) (viewReply, error) {
	r, err := exchange(web.admin, "GET /1/admin/nodes HTTP/1.1\r\nHost: "+web.admin+"\r\nConnection: close\r\n\r\n")
	if err != nil {
		return viewReply{}, err
	}
	var a struct {
		Data struct {
			Nodes []struct {
				Name   string
				Weight int
				RPC    []string
			}
			Epoch int64
		}
	}
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		return viewReply{}, fmt.Errorf("%s: %w", r.body, err)
	}
	v := viewReply{Nodes: make(map[string]int), Epoch: a.Data.Epoch, Addrs: make(map[string][]string)}
	for _, n := range a.Data.Nodes {
		v.Nodes[n.Name], v.Addrs[n.Name] = n.Weight, n.RPC
	}
	return v, nil
}
