package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// nowhere is the configuration of a daemon whose services do not exist.
func nowhere(t *testing.T, kind string) settings {
	t.Helper()
	s := settings{"zookeeper.addr": []string{testenv.FreeAddr(t)}}
	switch kind {
	case "comet":
		s["zookeeper.comet.node"] = "node1"
	case "message":
		s[`redis.source."shard1:1"`] = "tcp@" + testenv.FreeAddr(t)
	}
	return s
}

// run runs a daemon's command line to its end.
func run(t *testing.T, kind string, args ...string) (code int, output string) {
	t.Helper()
	p := testenv.Command{Name: kind, Args: append([]string{testenv.Binary(t, kind)}, args...)}.New(t)
	p.Launch()
	return p.WaitExit(patience), p.Output()
}

// TestBadConfiguration proves that every mistake ends with code 2 and a text
// that names it, from -check-config as from a start.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind string
		change     settings
		want       []string // in the output
	}{
		{"unknown key", "comet", settings{"tcp.bnid": []string{"localhost:1"}}, []string{"tcp.bnid", "tcp.bind"}},
		{"unknown key in a table", "comet", settings{"channel.maxsubscribers": 1}, []string{"channel.maxsubscribers", "channel.maxsubscriber"}},
		{"wrong type", "comet", settings{"channel.maxsubscriber": "many"}, []string{"maxsubscriber"}},
		{"string for an array", "comet", settings{"tcp.bind": "localhost:6969"}, []string{"tcp.bind"}},
		{"below its range", "comet", settings{"channel.msgbuf": 0}, []string{"channel.msgbuf = 0"}},
		{"weight over its range", "comet", settings{"zookeeper.comet.weight": 101}, []string{"zookeeper.comet.weight = 101", "100"}},
		{"no duration", "comet", settings{"zookeeper.timeout": "soon"}, []string{"timeout"}},
		{"no address", "comet", settings{"rpc.bind": []string{"nonsense"}}, []string{"rpc.bind", "nonsense"}},
		{"two at once", "comet", settings{"channel.msgbuf": 0, "channel.maxsubscriber": 0}, []string{"channel.msgbuf", "channel.maxsubscriber"}},
		{"rpc beyond loopback without a secret", "comet", settings{"rpc.bind": []string{"192.0.2.1:6970"}}, []string{"rpc.bind", "rpc.secret_file"}},
		{"stat beyond loopback", "comet", settings{"pprof.bind": []string{"192.0.2.1:6971"}}, []string{"pprof.bind"}},
		{"no zookeeper", "comet", settings{"zookeeper.addr": []string{}}, []string{"zookeeper.addr"}},
		{"unknown key", "web", settings{"http.bindd": []string{"localhost:1"}}, []string{"http.bindd", "http.bind"}},
		{"admin beyond loopback without a secret", "web", settings{"admin.bind": []string{"192.0.2.1:8091"}}, []string{"admin.bind", "admin.secret_file"}},
		{"unknown key", "message", settings{"redis.prefx": ""}, []string{"redis.prefx", "redis.prefix"}},
		{"weight of a node", "message", settings{"node.weight": 0}, []string{"node.weight = 0"}},
		{"shard without weight", "message", settings{`redis.source."two"`: "tcp@localhost:6379"}, []string{"redis.source", "two"}},
		{"shard without network", "message", settings{`redis.source."two:1"`: "localhost:6379"}, []string{"redis.source", "two:1"}},
		{"storage of a kind we do not have", "message", settings{"storage.type": "clay"}, []string{"storage.type", "clay"}},
		{"rpc beyond loopback without a secret", "message", settings{"rpc.bind": []string{"192.0.2.1:9989"}}, []string{"rpc.bind", "rpc.secret_file"}},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			d := newDaemon(t, tt.kind, 0, nowhere(t, tt.kind).with(tt.change))
			for _, args := range [][]string{{"-c", d.path}, {"-c", d.path, "-check-config"}} {
				code, out := run(t, tt.kind, args...)
				if code != 2 {
					t.Errorf("%q: exit code %d, want 2\n%s", args[2:], code, out)
				}
				for _, want := range tt.want {
					if !strings.Contains(out, want) {
						t.Errorf("%q: output lacks %q:\n%s", args[2:], want, out)
					}
				}
			}
		})
	}
	for _, kind := range []string{"comet", "web", "message"} {
		t.Run(kind, func(t *testing.T) {
			d := newDaemon(t, kind, 0, nowhere(t, kind))
			if code, out := run(t, kind, "-c", d.path, "-check-config"); code != 0 {
				t.Errorf("a good file: exit code %d, want 0\n%s", code, out)
			}
			if code, out := run(t, kind, "-version"); code != 0 || out == "" {
				t.Errorf("-version: exit code %d, want 0\n%s", code, out)
			}
			broken := filepath.Join(t.TempDir(), "broken.toml")
			if err := os.WriteFile(broken, []byte("[[["), 0o600); err != nil {
				t.Fatal(err)
			}
			for name, args := range map[string][]string{
				"no TOML":         {"-c", broken},
				"no such file":    {"-c", filepath.Join(t.TempDir(), "none.toml")},
				"unknown flag":    {"-nonsense"},
				"stray arguments": {"-c", d.path, "start"},
			} {
				if code, out := run(t, kind, args...); code != 2 || out == "" {
					t.Errorf("%s: exit code %d, want 2 and a word about it\n%s", name, code, out)
				}
			}
		})
	}
}

// TestTakenPorts proves that a port somebody else has ends the start with code
// 1 and its name, before any service is needed.
func TestTakenPorts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ kind, bind string }{
		{"comet", "tcp.bind"}, {"comet", "websocket.bind"}, {"comet", "rpc.bind"}, {"comet", "stat.bind"},
		{"web", "http.bind"}, {"web", "admin.bind"}, {"message", "rpc.bind"}, {"message", "pprof.bind"},
	} {
		t.Run(tt.kind+" "+tt.bind, func(t *testing.T) {
			l, err := net.Listen("tcp", testenv.FreeAddr(t))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			taken := l.Addr().String()
			d := newDaemon(t, tt.kind, 0, nowhere(t, tt.kind).with(settings{tt.bind: []string{taken}}))
			code, out := run(t, tt.kind, "-c", d.path)
			if code != 1 || !strings.Contains(out, taken) {
				t.Errorf("exit code %d, want 1 and %s in\n%s", code, taken, out)
			}
		})
	}
}

// TestStartBeforeServices starts the daemons before ZooKeeper and Redis: they
// wait, say for what, and come up when it appears. Until a comet has come, web
// knows of none.
func TestStartBeforeServices(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{})
	c.zk.Kill()
	c.redis[0].Kill()
	for _, d := range c.daemons() {
		d.Launch()
	}
	waitsFor := func(d *daemon, what, addr string) {
		t.Helper()
		testenv.Eventually(t, 15*time.Second, func() error {
			if !d.Running() {
				t.Fatalf("%s has ended", d.kind)
			}
			waits, where := false, false
			for line := range strings.Lines(strings.ToLower(d.Output())) {
				waits = waits || strings.Contains(line, "wait") && strings.Contains(line, what)
				where = where || strings.Contains(line, addr)
			}
			if !waits || !where {
				return fmt.Errorf("%s does not say that it waits for %s (%t), and where that is (%t)", d.kind, what, waits, where)
			}
			return nil
		})
		if err := d.readyz(); err == nil {
			t.Errorf("%s is ready without its services", d.kind)
		}
	}
	message, comet, web := c.messages[0], c.comets[0], c.webs[0]
	waitsFor(comet, "zookeeper", c.zk.Addr())
	waitsFor(web, "zookeeper", c.zk.Addr())
	waitsFor(message, "redis", c.redis[0].Addr())
	c.redis[0].Start()
	waitsFor(message, "zookeeper", c.zk.Addr())
	comet.Kill()
	c.zk.Start()

	testenv.Eventually(t, 15*time.Second, func() error {
		if r := get(t, web.web, "/1/server/get?k=a&p=2"); r.body != `{"ret":1001}` {
			return fmt.Errorf("server/get without a comet: %q, want ret 1001", r.body)
		}
		ret, err := c.push(web, "a", 0, `1`)
		if err == nil && ret != 1001 {
			err = fmt.Errorf("push without a comet: ret %d, want 1001", ret)
		}
		return err
	})
	comet.Launch()
	c.ready()
	cl := c.subscribe("a", "", "1.0")
	c.mustPush("a", `"up"`)
	if m := cl.message(); m.msg != `"up"` {
		t.Errorf("live %v", m)
	}
}

// TestEndWhileWaiting proves that SIGTERM ends a daemon that waits for its
// services, clean.
func TestEndWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"comet", "web", "message"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t, kind, 0, nowhere(t, kind))
			d.Launch()
			testenv.Eventually(t, 15*time.Second, func() error {
				_, err := exchange(d.stat, "GET /healthz HTTP/1.1\r\nHost: "+d.stat+"\r\nConnection: close\r\n\r\n")
				return err
			})
			if code := d.Stop(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}

// TestReload proves what SIGHUP does: limits change, what needs a restart is
// named, and a bad file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	c := start(t, options{})
	d := c.comets[0]
	const key = "reload"
	first := c.subscribe(key)

	reload := func(s settings, want ...string) {
		t.Helper()
		seen := len(d.Output())
		d.configure(t, s)
		d.Signal(syscall.SIGHUP)
		testenv.Eventually(t, patience, func() error {
			said := d.Output()[seen:]
			for _, w := range want {
				if !strings.Contains(said, w) {
					return fmt.Errorf("the log lacks %q after SIGHUP:\n%s", w, said)
				}
			}
			return nil
		})
	}
	limit := func(n int) {
		t.Helper()
		testenv.Eventually(t, patience, func() error {
			var in []net.Conn
			defer func() {
				for _, conn := range in {
					conn.Close()
				}
			}()
			for i := 1; ; i++ { // the first client is there already
				conn, err := net.Dial("tcp", d.tcp)
				if err != nil {
					return err
				}
				in = append(in, conn)
				cl := &tcpClient{t: t, conn: conn}
				cl.send(command("sub", key, "30"))
				cl.deadline(patience)
				reply := make([]byte, 4)
				if _, err := conn.Read(reply); err != nil {
					return err
				}
				if string(reply) != "+h\r\n" {
					if i != n {
						return fmt.Errorf("socket %d got %q, want %d to be accepted", i+1, reply, n)
					}
					return nil
				}
				if i > n {
					return fmt.Errorf("socket %d was accepted, want %d", i+1, n)
				}
			}
		})
	}
	reload(settings{"channel.maxsubscriber": 3})
	limit(3)
	reload(settings{"channel.maxsubscriber": 5, "tcp.bind": []string{testenv.FreeAddr(t)}}, "tcp.bind", "restart")
	limit(5)
	reload(settings{"tcp.bind": []string{d.tcp}, "channel.maxsubscriber": 2, "channel.msgbuf": 0}, "channel.msgbuf")
	limit(5) // refused as a whole
	reload(settings{"channel.msgbuf": nil})
	limit(2)
	first.beat()

	for _, d := range []*daemon{c.webs[0], c.messages[0]} {
		d.Signal(syscall.SIGHUP)
	}
	c.mustPush(key, `1`)
	for _, d := range c.daemons() {
		if code := d.Stop(); code != 0 {
			t.Errorf("%s: exit code %d, want 0", d.kind, code)
		}
	}
}

// TestReloadRules proves that SIGHUP reads secrets and origins again.
func TestReloadRules(t *testing.T) {
	t.Parallel()
	file, old := secretFile(t, "admin")
	c := start(t, options{web: settings{"admin.secret_file": file}})
	push := func(secret string) int {
		t.Helper()
		return send(t, c.webs[0].admin, "POST", "/1/admin/push/private?key=a&expire=0", `1`, "Authorization: Bearer "+secret).status
	}
	if got := push(old); got != http.StatusOK {
		t.Fatalf("push: status %d", got)
	}
	fresh := secretMark + "-another-secret-0123456789"
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	c.webs[0].Signal(syscall.SIGHUP)
	testenv.Eventually(t, patience, func() error {
		if got := push(fresh); got != http.StatusOK {
			return fmt.Errorf("push with the new secret: status %d", got)
		}
		return nil
	})
	if got := push(old); got != http.StatusUnauthorized {
		t.Errorf("push with the old secret: status %d, want 401", got)
	}

	comet := c.comets[0]
	connect := func(origin string) int {
		t.Helper()
		cl, res := upgrade(t, comet.ws, "key=a&heartbeat=30", "Origin: "+origin)
		cl.close()
		return res.StatusCode
	}
	comet.configure(t, settings{"websocket.origins": []string{"https://app.example.com"}})
	comet.Signal(syscall.SIGHUP)
	testenv.Eventually(t, patience, func() error {
		if got := connect("https://example.com"); got != http.StatusForbidden {
			return fmt.Errorf("a foreign origin: status %d, want 403", got)
		}
		return nil
	})
	if got := connect("https://app.example.com"); got != http.StatusSwitchingProtocols {
		t.Errorf("a known origin: status %d, want 101", got)
	}
}

// TestHelp keeps --help from being an error.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"comet", "web", "message", "gopush"} {
		out, err := exec.Command(testenv.Binary(t, kind), "--help").CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s --help: %v\n%s", kind, err, out)
		}
	}
}
