package assemble

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/internal/registry"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

// Files in which every key differs from its default; SECRET stands for a file.
const (
	otherComet = `
websocket.bind = ["127.0.0.1:1"]
websocket.advertise = ["h:1"]
websocket.origins = []
tcp.bind = ["127.0.0.1:2"]
tcp.advertise = ["h:2"]
rpc.bind = ["127.0.0.1:3"]
rpc.advertise = ["h:3"]
rpc.ping = "2s"
rpc.retry = "2s"
rpc.timeout = "3s"
rpc.secret_file = "SECRET"
rpc.allow = ["10.0.0.0/8"]
stat.bind = ["127.0.0.1:4"]
pprof.bind = ["127.0.0.1:5"]
legacy.hold = "2s"
outbuf.bytes = "1MB"
outbuf.total = "2MB"
migrate.rate = 1
drain.timeout = "2s"
drain.keep = "3s"
log.v = 1
channel.maxsubscriber = 1
channel.auth = true
channel.msgbuf = 1
channel.bucket = 1
channel.sndbuf.size = "1KB"
channel.rcvbuf.size = "1KB"
channel.tcp.keepalive = false
zookeeper.addr = ["z:1"]
zookeeper.timeout = "9s"
zookeeper.comet.path = "/c"
zookeeper.comet.node = "n"
zookeeper.comet.weight = 2
zookeeper.message.path = "/m"
`
	otherWeb = `
http.bind = ["127.0.0.1:1"]
admin.bind = ["127.0.0.1:2"]
admin.secret_file = "SECRET"
admin.allow = ["10.0.0.0/8"]
rpc.ping = "2s"
rpc.retry = "2s"
rpc.timeout = "3s"
rpc.secret_file = "SECRET"
rpc.allow = ["10.0.0.0/8"]
token.secret_file = "SECRET"
token.allow = ["10.0.0.0/8"]
stat.bind = ["127.0.0.1:4"]
pprof.bind = ["127.0.0.1:5"]
auth = true
drain.timeout = "2s"
reap.grace = "2s"
reap.window = "3s"
reap.failures = 4
reap.interval = "5s"
log.v = 1
zookeeper.addr = ["z:1"]
zookeeper.timeout = "9s"
zookeeper.comet.path = "/c"
zookeeper.message.path = "/m"
zookeeper.migrate.path = "/l"
`
	otherMessage = `
rpc.bind = ["127.0.0.1:3"]
rpc.advertise = ["h:3"]
rpc.timeout = "3s"
rpc.secret_file = "SECRET"
rpc.allow = ["10.0.0.0/8"]
node.weight = 2
token.pepper_file = "SECRET"
storage.type = "embedded"
storage.store = 21
storage.path = "elsewhere"
redis.prefix = "p:"
redis.timeout = "6m"
redis.idle = 1
redis.active = 2
redis.allow_eviction = true
redis.durability = "fsync"
redis.store = 22
redis.source = {"a:1" = "tcp@h:1"}
mysql.clean = "2m"
mysql.timeout = "6m"
mysql.idle = 1
mysql.active = 2
mysql.durability = "fsync"
mysql.source = {"a:1" = "u@tcp(h:1)/d"}
stat.bind = ["127.0.0.1:4"]
pprof.bind = ["127.0.0.1:5"]
log.v = 1
zookeeper.addr = ["z:1"]
zookeeper.timeout = "9s"
zookeeper.comet.path = "/c"
zookeeper.message.path = "/m"
`
)

// A daemon whose file changes in every key says that exactly those need a restart
// that docs/configuration.md does not mark.
func TestRestartKeys(t *testing.T) {
	anyPort := []string{"127.0.0.1:0"}
	t.Run("comet", func(t *testing.T) {
		cfg := comet.DefaultConfig()
		cfg.TCP.Bind, cfg.WebSocket.Bind, cfg.RPC.Bind, cfg.Stat.Bind, cfg.Pprof.Bind = anyPort, anyPort, anyPort, nil, nil
		c, err := newComet(cfg, registry.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		checkRestart(t, "comet", otherComet, comet.DefaultConfig(), c.reload)
	})
	t.Run("web", func(t *testing.T) {
		cfg := web.DefaultConfig()
		cfg.HTTP.Bind, cfg.Admin.Bind, cfg.Stat.Bind, cfg.Pprof.Bind = anyPort, anyPort, nil, nil
		w, err := newWeb(cfg, registry.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		checkRestart(t, "web", otherWeb, web.DefaultConfig(), w.reload)
	})
	t.Run("message", func(t *testing.T) {
		cfg := message.DefaultConfig()
		cfg.RPC.Bind, cfg.Stat.Bind, cfg.Pprof.Bind = anyPort, nil, nil
		m, err := newMessage(cfg, registry.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		checkRestart(t, "message", otherMessage, message.DefaultConfig(), m.reload)
	})
}

func checkRestart[C validated](t *testing.T, daemon, text string, def C, reload func(C) ([]string, error)) {
	t.Helper()
	dir := t.TempDir()
	secret, path := filepath.Join(dir, "secret"), filepath.Join(dir, "file.toml")
	for file, content := range map[string]string{secret: "0123456789abcdef", path: strings.ReplaceAll(text, "SECRET", secret)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next, err := load(path, def)
	if err != nil {
		t.Fatal(err)
	}
	if same := len(config.Keys(def)) - len(config.Diff(def, next)); same != 0 {
		t.Fatalf("%d keys do not differ: give each another value; these do: %v", same, config.Diff(def, next))
	}
	got, err := reload(next)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(documented(t, daemon), got); diff != "" {
		t.Errorf("need a restart (-docs/configuration.md +%s):\n%s", daemon, diff)
	}
}

var row = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|.*\\| (yes)? ?\\|$")

// documented returns the keys of a daemon that docs/configuration.md does not
// mark as taken over on SIGHUP.
func documented(t *testing.T, daemon string) []string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), fmt.Sprintf("\n## %s\n", daemon))
	section, _, _ = strings.Cut(section, "\n## ")
	var keys []string
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		if m[2] == "" {
			keys = append(keys, m[1])
		}
	}
	slices.Sort(keys)
	return keys
}

// What SIGHUP took over is named, once, apart from what needs a restart.
func TestReloadNamesWhatTookEffect(t *testing.T) {
	cfg := web.DefaultConfig()
	cfg.HTTP.Bind, cfg.Admin.Bind = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	cfg.Stat.Bind, cfg.Pprof.Bind = nil, nil
	w, err := newWeb(cfg, registry.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	file := cfg
	r := reloader[web.Config]{
		load:      func() (web.Config, error) { return file, file.Validate() },
		apply:     w.reload,
		verbosity: func(web.Config) int { return 0 },
		last:      cfg,
	}
	for _, step := range []struct {
		name             string
		edit             func()
		applied, restart []string
		fails            bool
	}{
		{"nothing", func() {}, nil, nil, false},
		{"one of each", func() { file.Auth, file.HTTP.Bind = true, []string{"127.0.0.1:1"} }, []string{"auth"}, []string{"http.bind"}, false},
		{"again", func() {}, nil, []string{"http.bind"}, false},
		{"refused", func() { file.Auth, file.Admin.Allow = false, []string{"nowhere"} }, nil, nil, true},
		{"mended, and what runs again", func() { file.Admin.Allow, file.HTTP.Bind = []string{"10.0.0.0/8"}, cfg.HTTP.Bind },
			[]string{"admin.allow", "auth"}, nil, false},
	} {
		step.edit()
		applied, restart, err := r.again()
		if (err != nil) != step.fails || !slices.Equal(applied, step.applied) || !slices.Equal(restart, step.restart) {
			t.Errorf("%s: applied %q, restart %q, err %v; want %q, %q, failure: %t", step.name, applied, restart, err, step.applied, step.restart, step.fails)
		}
	}
}

// What is wrong with a file at a reload is one line of the log.
func TestProblemsInOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "comet.toml")
	if err := os.WriteFile(path, []byte("migrate.rate = 0\ndrain.keep = \"-1s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadComet(path)
	if err == nil {
		t.Fatal("a file with two problems was loaded")
	}
	got := oneLine(err)
	if want := path + ": 2 problems; migrate.rate = 0: want"; strings.Contains(got, "\n") || !strings.HasPrefix(got, want) || !strings.Contains(got, "; drain.keep = ") {
		t.Errorf("logged %q, want one line that begins with %q", got, want)
	}
}
