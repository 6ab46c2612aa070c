package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		{"one port twice", "comet", settings{"tcp.bind": []string{"localhost:6970"}, "rpc.bind": []string{"localhost:6970"}}, []string{"tcp.bind", "rpc.bind", "localhost:6970"}},
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
