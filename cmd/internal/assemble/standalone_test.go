package assemble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	comet "gopush-cluster/comet/client"
	"gopush-cluster/internal/config"
	"gopush-cluster/message"
	web "gopush-cluster/web/client"
)

// anywhere has every address on a port of its own.
const anywhere = `
[comet]
tcp.bind = ["127.0.0.1:0"]
websocket.bind = ["127.0.0.1:0"]
rpc.bind = ["127.0.0.1:0"]
stat.bind = ["127.0.0.1:0"]
pprof.bind = []
legacy.hold = "10ms"
[web]
http.bind = ["127.0.0.1:0"]
admin.bind = ["127.0.0.1:0"]
stat.bind = []
pprof.bind = []
[message]
rpc.bind = ["127.0.0.1:0"]
stat.bind = []
pprof.bind = []
`

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "standalone.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is a standalone in this process.
type running struct {
	Addresses
	reload chan struct{}
	end    func() error // ends it and returns what Standalone did
}

func start(t *testing.T, path, data string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{reload: make(chan struct{})}
	ready := make(chan Addresses, 1)
	done := make(chan error, 1)
	go func() {
		done <- Standalone(ctx, path, data, r.reload, func(a Addresses) { ready <- a })
	}()
	select {
	case r.Addresses = <-ready:
	case err := <-done:
		t.Fatalf("Standalone = %v before it was ready", err)
	}
	r.end = func() error {
		cancel()
		return <-done
	}
	return r
}

func (r *running) client(t *testing.T) *web.Client {
	t.Helper()
	c, err := web.New(web.Options{Web: "http://" + r.HTTP[0], Admin: "http://" + r.Admin[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var errSeen = errors.New("seen")

// receive subscribes and returns the first n messages after mid.
func (r *running) receive(t *testing.T, key string, mid int64, n int, connected func()) (got []comet.Message) {
	t.Helper()
	err := comet.Subscribe(t.Context(), comet.Options{
		Web: []string{"http://" + r.HTTP[0]}, Key: key, Mid: mid,
		OnState: func(s comet.State) {
			if s.Connected && s.Err == nil && connected != nil {
				connected()
			}
		},
	}, func(m comet.Message) error {
		if got = append(got, m); len(got) == n {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatalf("Subscribe = %v after %d messages", err, len(got))
	}
	return got
}

func TestStandalone(t *testing.T) {
	data := t.TempDir()
	path := writeFile(t, anywhere)
	r := start(t, path, data)
	c := r.client(t)
	push := func(n int) {
		t.Helper()
		if err := c.PushPrivate(t.Context(), "alice", json.RawMessage(fmt.Sprint(n)), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	// Live, and one that nobody keeps.
	live := r.receive(t, "alice", 0, 2, func() {
		push(1)
		if err := c.PushPrivate(t.Context(), "alice", json.RawMessage(`"now"`), 0); err != nil {
			t.Error(err)
		}
	})
	if string(live[0].Msg) != "1" || string(live[1].Msg) != `"now"` || live[0].Mid >= live[1].Mid {
		t.Fatalf("received %+v, want 1 and \"now\" by rising mid", live)
	}
	push(2)
	push(3)
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].Share != 1 || !nodes[0].Alive {
		t.Fatalf("Nodes = %+v, %v, want one that is alive and has everything", nodes, err)
	}
	if err := c.TokenAdd(t.Context(), "alice", "T", 0); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Fatalf("Standalone = %v, want a clean end", err)
	}

	// What was stored is there after a restart, and what is pushed now is later.
	r = start(t, path, data)
	c = r.client(t)
	push(4)
	after := r.receive(t, "alice", live[0].Mid, 3, nil)
	for i, m := range after {
		if string(m.Msg) != fmt.Sprint(i+2) {
			t.Fatalf("received %+v after a restart, want 2, 3, 4", after)
		}
	}
	if err := r.end(); err != nil {
		t.Fatalf("Standalone = %v, want a clean end", err)
	}
}

func TestStandaloneDataInUse(t *testing.T) {
	data := t.TempDir()
	path := writeFile(t, anywhere)
	r := start(t, path, data)
	defer r.end()
	err := Standalone(t.Context(), path, data, nil, func(Addresses) { t.Error("ready on data that is in use") })
	if !errors.Is(err, message.ErrInUse) || !strings.Contains(err.Error(), data) {
		t.Fatalf("Standalone = %v, want ErrInUse with the folder", err)
	}
}

// Three daemons have ports: the error says whose it is, and says it once.
func TestStandalonePortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct{ table, key string }{{"[message]", "rpc"}, {"[comet]", "tcp"}, {"[web]", "admin"}} {
		from, to := tt.key+`.bind = ["127.0.0.1:0"]`, fmt.Sprintf("%s.bind = [%q]", tt.key, taken.Addr())
		head, rest, _ := strings.Cut(anywhere, tt.table)
		path := writeFile(t, head+tt.table+strings.Replace(rest, from, to, 1))
		err := Standalone(t.Context(), path, t.TempDir(), nil, func(Addresses) { t.Error("ready without a port") })
		want := fmt.Sprintf("%s %s.bind = %q: address already in use; stop the program", tt.table, tt.key, taken.Addr())
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Standalone = %v, want %s…", err, want)
		}
	}
}

// A reload is taken over as a whole or not at all.
func TestStandaloneReload(t *testing.T) {
	path := writeFile(t, anywhere)
	r := start(t, path, t.TempDir())
	defer r.end()
	wantsToken := func() bool {
		t.Helper()
		res, err := http.Get("http://" + r.HTTP[0] + "/1/msg/get?k=alice&m=0")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct{ Ret int }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Ret != 0
	}
	read := func(text string) {
		t.Helper()
		// At once: the second reload of the call before may be reading.
		if err := os.Rename(writeFile(t, text), path); err != nil {
			t.Fatal(err)
		}
		r.reload <- struct{}{}
		r.reload <- struct{}{} // taken only when the first was dealt with
	}
	if wantsToken() {
		t.Fatal("a token is wanted, though auth is off")
	}
	read(strings.Replace(anywhere, "[web]", "[web]\nauth = true", 1))
	if !wantsToken() {
		t.Fatal("auth was turned on, and no token is wanted")
	}
	read(anywhere + "node.weight = 0")
	if !wantsToken() {
		t.Fatal("a file with a mistake in it was taken over")
	}
	read(anywhere)
	if wantsToken() {
		t.Fatal("auth was turned off, and a token is wanted")
	}
}

func TestLoadStandalone(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // parts of the error
	}{
		{"nothing", "", nil},
		{"addresses", anywhere, nil},
		{"another store", "[message.storage]\ntype = \"redis\"", nil},
		{"an unknown key", "[comet]\nport = 1", []string{"comet.port: unknown key"}},
		{"a key of no daemon", "data = \"x\"", []string{"data: unknown key"}},
		{"mistakes in all three", "[comet.channel]\nmsgbuf = 0\n[web.log]\nv = 9\n[message.node]\nweight = 0",
			[]string{"3 problems", "[comet] channel.msgbuf = 0", "[web] log.v = 9", "[message] node.weight = 0"}},
		{"a ZooKeeper", "[comet.zookeeper]\naddr = [\"localhost:2182\"]\n[web.zookeeper]\ntimeout = \"9s\"",
			[]string{"comet.zookeeper.addr: one process needs no ZooKeeper", "web.zookeeper.timeout: one process needs no ZooKeeper"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.text)
			_, err := LoadStandalone(path, "data")
			var bad *config.Error
			if (err != nil) != (tt.want != nil) || err != nil && (!errors.As(err, &bad) || bad.Path != path) {
				t.Fatalf("LoadStandalone = %v, want a *config.Error that names the file: %t", err, tt.want != nil)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("LoadStandalone = %v, want %q in it", err, part)
				}
			}
		})
	}
	if c, err := LoadStandalone("", "somewhere"); err != nil || c.Message.Storage.Path != "somewhere" || c.Message.Storage.Type != message.Embedded {
		t.Errorf("LoadStandalone without a file = %+v, %v, want the embedded store in the folder", c.Message.Storage, err)
	}
}
