package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

const (
	cometPath   = "/gopush-cluster-comet"
	messagePath = "/gopush-cluster-message"
	migratePath = "/gopush-migrate-lock"
)

// Everything that must never be in a log carries one of these.
const (
	tokenMark   = "T0KEN"
	payloadMark = "PAYL0AD"
	secretMark  = "S3CRET"
)

// options says what a cluster consists of. Zero numbers mean one.
type options struct {
	nodes                 []string // comet.node of each comet; nil: one, node1
	webs, messages, redis int
	proxied               bool     // the daemons reach ZooKeeper through cluster.proxy
	stepped               bool     // daemon.step moves a daemon's clock
	comet, web, message   settings // laid over the harness's own
}

// cluster is a running cluster.
type cluster struct {
	t        testing.TB
	zk       *testenv.ZooKeeperServer
	proxy    *testenv.TCPProxy // before zk, if options.proxied
	redis    []*testenv.RedisServer
	comets   []*daemon
	webs     []*daemon
	messages []*daemon
	http     *http.Client
}

// daemon is one of our processes.
type daemon struct {
	*testenv.Process
	kind string
	path string   // of its configuration file
	conf settings // what is written there

	// Addresses of its listeners; "" where it has none of the kind.
	tcp, ws, rpc, web, admin, stat string
}

// start starts a cluster and returns when all its daemons are ready and agree
// on who owns which key.
func start(t testing.TB, o options) *cluster {
	t.Helper()
	c := prepare(t, o)
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	return c
}

// prepare starts the services of a cluster and none of its daemons.
func prepare(t testing.TB, o options) *cluster {
	t.Helper()
	if !o.stepped {
		testenv.Binaries(t) // -short skips here
	}
	if o.nodes == nil { // an empty list is a cluster without comets
		o.nodes = []string{"node1"}
	}
	c := &cluster{t: t, http: newHTTPClient(t)}
	c.zk = testenv.ZooKeeper(t)
	zookeeper := c.zk.Addr()
	if o.proxied {
		c.proxy = testenv.Proxy(t, zookeeper)
		zookeeper = c.proxy.Addr()
	}
	store := settings{}
	for i := range max(o.redis, 1) {
		r := testenv.Redis(t)
		c.redis = append(c.redis, r)
		store[fmt.Sprintf(`redis.source."shard%d:1"`, i+1)] = "tcp@" + r.Addr()
	}
	common := settings{
		"zookeeper.addr":         []string{zookeeper},
		"zookeeper.timeout":      "4s",
		"zookeeper.comet.path":   cometPath,
		"zookeeper.message.path": messagePath,
	}
	for i := range max(o.messages, 1) {
		c.messages = append(c.messages, o.newDaemon(t, "message", i, common.with(settings{"node.weight": 2}, store, o.message)))
	}
	for i, node := range o.nodes {
		c.comets = append(c.comets, o.newDaemon(t, "comet", i, common.with(settings{"zookeeper.comet.node": node}, o.comet)))
	}
	for i := range max(o.webs, 1) {
		c.webs = append(c.webs, o.newDaemon(t, "web", i, common.with(settings{"zookeeper.migrate.path": migratePath}, o.web)))
	}
	t.Cleanup(c.searchLogs)
	return c
}

// newHTTPClient returns a client that keeps its connections, as a back-end does.
func newHTTPClient(t testing.TB) *http.Client {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// with returns the cluster for a subtest.
func (c *cluster) with(t testing.TB) *cluster {
	sub := *c
	sub.t = t
	return &sub
}

// newDaemon writes the configuration of a daemon, with addresses of its own,
// and does not start it.
func newDaemon(t testing.TB, kind string, i int, conf settings) *daemon {
	t.Helper()
	return options{}.newDaemon(t, kind, i, conf)
}

func (o options) newDaemon(t testing.TB, kind string, i int, conf settings) *daemon {
	t.Helper()
	d := &daemon{kind: kind, stat: testenv.FreeAddr(t)}
	own := settings{
		"stat.bind":  []string{d.stat},
		"pprof.bind": []string{testenv.FreeAddr(t)},
	}
	listen := func(key string, addr *string) {
		*addr = testenv.FreeAddr(t)
		own[key] = []string{*addr}
	}
	switch kind {
	case "comet":
		listen("tcp.bind", &d.tcp)
		listen("websocket.bind", &d.ws)
		listen("rpc.bind", &d.rpc)
	case "message":
		listen("rpc.bind", &d.rpc)
	case "web":
		listen("http.bind", &d.web)
		listen("admin.bind", &d.admin)
	}
	d.conf = own.with(conf)
	dir := t.TempDir()
	d.path = filepath.Join(dir, kind+".toml")
	d.conf.write(t, d.path)
	var build testenv.Build
	if o.stepped {
		build.Tags = "chaos"
	}
	d.Process = d.command(t, i, build, "-v=2").New(t)
	return d
}

// command is how the i-th daemon of its kind is started.
func (d *daemon) command(t testing.TB, i int, b testenv.Build, flags ...string) testenv.Command {
	return testenv.Command{
		Name:  fmt.Sprintf("%s%d", d.kind, i+1),
		Args:  append([]string{b.Binary(t, d.kind), "-c", d.path}, flags...),
		Env:   []string{"GOPUSH_CLOCK_STEP=" + d.stepFile()}, // nobody looks at it but if stepped
		Dir:   filepath.Dir(d.path),
		Ready: d.readyz,
	}
}

// plain has the daemons of a cluster be what operators run: built without the
// race detector, and without a line in the log for each message. None of them is
// running yet.
func (c *cluster) plain() {
	for _, of := range [][]*daemon{c.messages, c.comets, c.webs} {
		for i, d := range of {
			d.Process = d.command(c.t, i, testenv.Build{NoRace: true}).New(c.t)
		}
	}
}

// readyz returns nil when the daemon says that it can do its work.
func (d *daemon) readyz() error {
	r, err := exchange(d.stat, "GET /readyz HTTP/1.1\r\nHost: "+d.stat+"\r\nConnection: close\r\n\r\n")
	if err != nil {
		return err
	}
	if r.status != 200 {
		return fmt.Errorf("readyz: %d %s", r.status, r.body)
	}
	return nil
}

// configure changes keys of the daemon's file.
func (d *daemon) configure(t testing.TB, s settings) {
	t.Helper()
	d.conf = d.conf.with(s)
	d.conf.write(t, d.path)
}

// daemons returns all daemons, the message daemons first.
func (c *cluster) daemons() []*daemon {
	var all []*daemon
	all = append(all, c.messages...)
	all = append(all, c.comets...)
	return append(all, c.webs...)
}

// ready waits until all daemons are ready and agree on who owns which key.
func (c *cluster) ready() {
	c.t.Helper()
	for _, d := range c.daemons() {
		d.WaitReady()
	}
	testenv.Eventually(c.t, 15*time.Second, c.agree)
}

// agree returns nil when all webs name the same comets, and exactly the comets
// that they name accept the keys.
func (c *cluster) agree() error {
	for i := range 16 {
		key := fmt.Sprintf("agree-%d", i)
		owner := ""
		for _, w := range c.webs {
			addr, err := serverOf(w, key)
			if err != nil {
				return err
			}
			if owner != "" && addr != owner {
				return fmt.Errorf("one web gives %s to %s, another to %s", key, owner, addr)
			}
			owner = addr
		}
		for _, d := range c.comets {
			reply, err := knock(d.tcp, key)
			if err != nil {
				return err
			}
			if owns := d.tcp == owner; owns == (reply == "-n\r\n") {
				return fmt.Errorf("%s: owner %s, but %s answers %q", key, owner, d.tcp, reply)
			}
		}
	}
	return nil
}

// owner returns the comet that the first web names for key.
func (c *cluster) owner(key string) *daemon {
	c.t.Helper()
	addr, err := serverOf(c.webs[0], key)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range c.comets {
		if d.tcp == addr {
			return d
		}
	}
	c.t.Fatalf("web names %s for %s, which is no comet of this cluster", addr, key)
	return nil
}

// keyOf returns a key that begins with prefix and that d owns.
func (c *cluster) keyOf(d *daemon, prefix string) string {
	c.t.Helper()
	for i := range 1000 {
		if key := fmt.Sprintf("%s-%d", prefix, i); c.owner(key) == d {
			return key
		}
	}
	c.t.Fatalf("no key of 1000 belongs to %s", d.tcp)
	return ""
}

// searchLogs fails the test if a daemon printed, or tells at /stat, what nobody
// may read, and if it printed that something is broken.
func (c *cluster) searchLogs() {
	for _, d := range c.daemons() {
		told := d.Output()
		if d.Running() && d.readyz() == nil {
			told += get(c.t, d.stat, "/stat").body
		}
		for line := range strings.Lines(told) {
			for _, mark := range []string{tokenMark, payloadMark, secretMark} {
				if strings.Contains(line, mark) {
					c.t.Errorf("%s tells %s: %s", d.kind, mark, line)
				}
			}
			if strings.Contains(line, "WARNING: DATA RACE") || strings.Contains(line, "panic") {
				c.t.Errorf("%s: %s", d.kind, line)
			}
		}
	}
}
