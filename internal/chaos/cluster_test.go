package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// testStore and testHold are the settings by which a run is judged.
const (
	testStore = 300
	testHold  = time.Second
	testKeep  = 10 * time.Second // drain.keep of one of the comets
	exitTime  = 20 * time.Second // for a daemon to end, within drain.timeout where nothing is in its way
)

// cluster is a real cluster: two webs, three comets and a fourth that comes and
// goes, two messages, two Redis servers that sync every write, and ZooKeeper.
// What a daemon says to ZooKeeper, and what is said to a comet or message, goes
// through a proxy of its own. Beside it runs a gopush standalone, for the
// embedded store.
type cluster struct {
	t       *testing.T
	build   testenv.Build
	servers map[string]*testenv.Process  // all of them, by name
	proxies map[string]*testenv.TCPProxy // between a daemon and ZooKeeper
	doors   map[string]*testenv.TCPProxy // where the others call a comet or message
	clocks  map[string]string            // files that step a daemon's clock
	redis   []string                     // names
	comets  []string                     // those that are there to stay
	keeping string                       // the one of them with drain.keep
	guest   string                       // the comet that is not
	alone   string                       // gopush standalone
	disk    string                       // a file system that holds its data; "": none could be mounted
	daemons []string                     // in the order in which they start
	webs    []Web
	single  []Web                           // that of gopush standalone
	pair    map[string]*testenv.RedisServer // instead of redis: two of which Sentinels make one the master
	watch   []*testenv.Sentinel
	zk      *testenv.ZooKeeperServer

	mu   sync.Mutex
	pids map[int]string // of the daemons that run
}

// start starts a cluster and waits until it is ready.
func start(t *testing.T, build testenv.Build, failover bool) *cluster {
	t.Helper()
	build.Binaries(t) // -short skips here
	c := &cluster{
		t: t, build: build, zk: testenv.ZooKeeper(t), servers: make(map[string]*testenv.Process),
		proxies: make(map[string]*testenv.TCPProxy), doors: make(map[string]*testenv.TCPProxy),
		clocks: make(map[string]string), pids: make(map[int]string),
	}
	c.servers["zookeeper"] = c.zk.Process
	shards := make(map[string]any)
	for i := range 2 {
		if failover {
			break
		}
		r := testenv.Redis(t)
		name := fmt.Sprintf("redis%d", i+1)
		c.redis, c.servers[name] = append(c.redis, name), r.Process
		shards[fmt.Sprintf(`redis.source."shard%d:1"`, i+1)] = "tcp@" + r.Addr()
	}
	if failover {
		first := testenv.Redis(t)
		c.pair = map[string]*testenv.RedisServer{"redis1": first, "redis2": first.Replica()}
		for name, r := range c.pair {
			c.servers[name] = r.Process
		}
		c.watch = testenv.Sentinels(t, first, 3, 1)
		var addrs []string
		for _, s := range c.watch {
			addrs = append(addrs, s.Addr())
		}
		shards[`redis.source."shard1:1"`] = "sentinel@" + strings.Join(addrs, ",") + "/" + testenv.MasterName
		shards["redis.durability"] = "replica"
	}
	t.Cleanup(c.searchOutput)
	for range 2 {
		own := map[string]any{"storage.store": testStore}
		for k, v := range shards {
			own[k] = v
		}
		c.daemon("message", own)
	}
	for i := range 4 {
		own := map[string]any{
			"tcp.bind": addrs(t), "websocket.bind": addrs(t), "channel.sndbuf.size": "4KB",
			"zookeeper.comet.node": node(fmt.Sprintf("comet%d", i+1)), "legacy.hold": testHold.String(), "drain.timeout": "5s",
		}
		if i == 0 {
			own["drain.keep"] = testKeep.String()
		}
		c.comets = append(c.comets, c.daemon("comet", own))
	}
	c.keeping, c.guest, c.comets = c.comets[0], c.comets[3], c.comets[:3]
	for range 2 {
		w := Web{HTTP: testenv.FreeAddr(t), Admin: testenv.FreeAddr(t)}
		w.Name = c.daemon("web", map[string]any{"http.bind": []string{w.HTTP}, "admin.bind": []string{w.Admin}, "drain.timeout": "5s"})
		c.webs = append(c.webs, w)
	}
	c.standalone()
	for _, name := range c.daemons {
		if name != c.guest {
			c.launch(name)
		}
	}
	c.ready()
	return c
}

// node is the place of a comet in the ring.
func node(comet string) string { return strings.Replace(comet, "comet", "node", 1) }

func addrs(t *testing.T) []string { return []string{testenv.FreeAddr(t)} }

// daemon prepares the next daemon of its kind and returns its name.
func (c *cluster) daemon(kind string, own map[string]any) string {
	c.t.Helper()
	n := 1
	for _, other := range c.daemons {
		if strings.HasPrefix(other, kind) {
			n++
		}
	}
	name := fmt.Sprintf("%s%d", kind, n)
	c.proxies[name] = testenv.Proxy(c.t, c.zk.Addr())
	own["zookeeper.addr"], own["zookeeper.timeout"] = []string{c.proxies[name].Addr()}, "4s"
	stat := testenv.FreeAddr(c.t)
	own["stat.bind"], own["pprof.bind"] = []string{stat}, []string{}
	if kind != "web" {
		rpc := testenv.FreeAddr(c.t)
		c.doors[name] = testenv.Proxy(c.t, rpc)
		c.doors[name].Know(c.who)
		own["rpc.bind"], own["rpc.advertise"] = []string{rpc}, []string{c.doors[name].Addr()}
	}
	c.prepare(name, own, stat, c.build.Binary(c.t, kind), "-logtostderr")
	return name
}

// standalone prepares gopush standalone, with its data on a small disk of its own
// where one can be mounted.
func (c *cluster) standalone() {
	c.t.Helper()
	c.alone = "standalone"
	data := c.t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=256m"); err != nil {
		c.t.Logf("no disk to fill: mount: %v", err)
	} else {
		c.disk = data
		c.t.Cleanup(func() {
			if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
				c.t.Error(err)
			}
		})
	}
	w := Web{Name: c.alone, HTTP: testenv.FreeAddr(c.t), Admin: testenv.FreeAddr(c.t)}
	c.single = []Web{w}
	stat := testenv.FreeAddr(c.t)
	own := map[string]any{
		"web.http.bind": []string{w.HTTP}, "web.admin.bind": []string{w.Admin}, "web.stat.bind": []string{stat}, "web.pprof.bind": []string{},
		"message.storage.store": testStore, "comet.legacy.hold": testHold.String(), "comet.channel.sndbuf.size": "4KB",
	}
	for _, key := range []string{"comet.tcp.bind", "comet.websocket.bind", "comet.rpc.bind", "comet.stat.bind", "message.rpc.bind", "message.stat.bind"} {
		own[key] = addrs(c.t)
	}
	own["comet.pprof.bind"], own["message.pprof.bind"] = []string{}, []string{}
	c.prepare(c.alone, own, stat, c.build.Binary(c.t, "gopush"), "standalone", "--log-to-stderr", "--data", filepath.Join(data, "data"))
}

// prepare writes the file of a daemon, which args and -c start.
func (c *cluster) prepare(name string, own map[string]any, stat string, args ...string) {
	c.t.Helper()
	var file strings.Builder
	for key, value := range own { // strings, numbers and lists look the same in TOML as in JSON
		b, err := json.Marshal(value)
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(&file, "%s = %s\n", key, b)
	}
	dir := c.t.TempDir()
	path := filepath.Join(dir, name+".toml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.daemons, c.clocks[name] = append(c.daemons, name), filepath.Join(dir, "step")
	c.servers[name] = testenv.Command{
		Name: name, Args: append(args, "-c", path), Dir: dir,
		Ready: func() error { return readyz(stat) },
		Env: []string{
			"GORACE=atexit_sleep_ms=20 exitcode=0", // a race is found in what it prints
			"GOPUSH_CLOCK_STEP=" + c.clocks[name],
		},
	}.New(c.t)
}

// readyz returns nil when the daemon says that it can do its work.
func readyz(addr string) error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + addr + "/readyz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", res.Status)
	}
	return nil
}

// launch starts a server, daemon or not.
func (c *cluster) launch(name string) {
	c.t.Helper()
	c.servers[name].Launch()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.pids, func(_ int, of string) bool { return of == name })
	c.pids[c.servers[name].Pid()] = name
}

// who returns the daemon that has made conn.
func (c *cluster) who(conn net.Conn) string {
	c.mu.Lock()
	pids := maps.Clone(c.pids)
	c.mu.Unlock()
	return testenv.SocketOwner(conn, pids)
}

// ready waits until all daemons are ready.
func (c *cluster) ready() {
	c.t.Helper()
	for _, name := range c.daemons {
		if name == c.guest {
			continue
		}
		if !c.servers[name].Running() {
			c.t.Fatalf("%s has ended by itself", name)
		}
		c.servers[name].WaitReady()
	}
}

// master returns the name of the Redis that most Sentinels call the master.
func (c *cluster) master() (string, error) {
	votes := make(map[string]int)
	for _, s := range c.watch {
		addr, err := s.Master()
		if err != nil {
			return "", err
		}
		for name, r := range c.pair {
			if r.Addr() == addr {
				votes[name]++
			}
		}
	}
	for name, n := range votes {
		if n > len(c.watch)/2 {
			return name, nil
		}
	}
	return "", fmt.Errorf("the Sentinels do not agree on a master: %v", votes)
}

// stop asks a daemon to end, which it does cleanly whatever is broken around it.
func (c *cluster) stop(name string) { c.servers[name].Signal(syscall.SIGTERM) }

// stopped waits for the end that stop, or a command, has asked for.
func (c *cluster) stopped(name string) {
	c.t.Helper()
	if code := c.servers[name].WaitExit(exitTime); code != 0 {
		c.t.Errorf("%s was asked to end, and ends with %d, want 0", name, code)
	}
}

// end ends all daemons that run, one after the other, as an operator does.
func (c *cluster) end() {
	c.t.Helper()
	for _, name := range slices.Backward(c.daemons) {
		if c.servers[name].Running() {
			c.stop(name)
			c.stopped(name)
		}
	}
}

// gopush asks a web to ask the cluster for something. It fails where what is
// asked is out of reach: nothing is owed to an operator whose command fails.
func (c *cluster) gopush(args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), exitTime)
	defer cancel()
	for _, web := range c.webs {
		cmd := exec.CommandContext(ctx, c.build.Binary(c.t, "gopush"), append(args, "--admin", "http://"+web.Admin)...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return
		}
		c.t.Logf("gopush %s by %s: %v: %s", strings.Join(args, " "), web.Name, err, out)
		if cmd.ProcessState.ExitCode() == 2 {
			c.t.Errorf("gopush does not understand %q", args)
		}
	}
}

// searchOutput fails the test if a daemon printed that something is broken.
func (c *cluster) searchOutput() {
	for _, name := range c.daemons {
		for report := range strings.SplitSeq(c.servers[name].Output(), "==================\n") {
			// go-zookeeper 1.0.4 reads its last zxid unguarded when it connects again
			// with watches set. Both sides of that race are its own.
			if strings.Contains(report, "WARNING: DATA RACE") && !strings.Contains(report, "zk.(*Conn).sendSetWatches()") {
				c.t.Errorf("%s: %s", name, report)
			}
			for line := range strings.Lines(report) {
				if strings.Contains(line, "panic") {
					c.t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
}
