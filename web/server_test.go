package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/peer"
)

// TestTakenPort: New fails, names the address, and leaves nothing bound.
func TestTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	cfg := testConfig()
	cfg.HTTP.Bind = []string{free.Addr().String()}
	cfg.Admin.Bind = []string{taken.Addr().String()}
	if _, err = New(cfg, Deps{}); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("err = %v, want one that names %s", err, taken.Addr())
	}
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the other port is still bound: %v", err)
	}
	again.Close()
}

func TestRunOnce(t *testing.T) {
	f := newFixture(t, testConfig())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run of an ended context: %v", err)
	}
	if err := f.Run(ctx); !errors.Is(err, ErrStarted) {
		t.Errorf("second Run: %v, want ErrStarted", err)
	}
	if c, err := net.Dial("tcp", f.HTTPAddrs()[0]); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

// TestTwoServers: two webs fit in one process, each on several addresses.
func TestTwoServers(t *testing.T) {
	cfg := testConfig()
	cfg.HTTP.Bind = []string{"127.0.0.1:0", "127.0.0.2:0"}
	a, b := newFixture(t, cfg).run(t), newFixture(t, cfg).run(t)
	for _, f := range []*fixture{a, b} {
		if len(f.HTTPAddrs()) != 2 || len(f.AdminAddrs()) != 1 {
			t.Fatalf("addresses %v and %v", f.HTTPAddrs(), f.AdminAddrs())
		}
		for _, addr := range f.HTTPAddrs() {
			if _, body := exchange(t, addr, get("/1/time/get")); !strings.HasSuffix(body, `"ret":0}`) {
				t.Errorf("%s: %s", addr, body)
			}
		}
	}
}

// TestDrain: a request under way is answered after the end was asked for, and
// nobody new is let in.
func TestDrain(t *testing.T) {
	f := newFixture(t, testConfig())
	begun, finish := make(chan struct{}), make(chan struct{})
	f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		close(begun)
		<-finish
		return answers(peer.OK)(ctx, node, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	c, err := net.Dial("tcp", f.AdminAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, post("/1/admin/push/private?key=a&expire=1", "1"))
	<-begun
	cancel()
	for deadline := time.Now().Add(10 * time.Second); ; {
		late, err := net.Dial("tcp", f.AdminAddrs()[0])
		if err != nil {
			break
		}
		late.Close()
		if time.Now().After(deadline) {
			t.Fatal("the port stays open")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("Run returned %v before the request was answered", err)
	default:
	}
	close(finish)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if string(body) != `{"ret":0}` {
		t.Errorf("answer = %s", body)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestDrainTimeout: a request that does not end is cut off, and Run says so.
func TestDrainTimeout(t *testing.T) {
	f := newFixture(t, testConfig())
	f.drainTime = 10 * time.Millisecond
	begun, finish := make(chan struct{}), make(chan struct{})
	f.messages.read = func(context.Context, peer.ReadArgs) (peer.ReadReply, error) {
		close(begun)
		<-finish
		return peer.ReadReply{}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	c, err := net.Dial("tcp", f.HTTPAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, get("/1/msg/get?k=a&m=0"))
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v, want DeadlineExceeded", err)
	}
	close(finish)
}

// TestPanic: a handler's panic ends its request with 65535, and no other.
func TestPanic(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	f.messages.read = func(context.Context, peer.ReadArgs) (peer.ReadReply, error) { panic("fake: a bug") }
	addr := f.HTTPAddrs()[0]
	for _, tt := range []struct{ url, want string }{
		{"/1/msg/get?k=a&m=0", `{"ret":65535}`},
		{"/1/msg/get?k=a&m=0&cb=f", `f({"ret":65535})`},
		{"/msg/get?key=a&mid=0", `{"msg":"ok","ret":65535}`},
		{"/1/server/get?k=a&p=1", `{"data":{"server":"127.0.0.1:6968"},"ret":0}`},
	} {
		if res, body := exchange(t, addr, get(tt.url)); body != tt.want || res.StatusCode != 200 {
			t.Errorf("%s: %d %s, want %s", tt.url, res.StatusCode, body, tt.want)
		}
	}
}

// TestKeepAlive: a connection serves one request after another, refused ones
// without a body too.
func TestKeepAlive(t *testing.T) {
	f := newFixture(t, testConfig()).run(t)
	c, err := net.Dial("tcp", f.HTTPAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i, url := range []string{"/1/time/get", "/nowhere", "/1/server/get", "/1/time/get"} {
		fmt.Fprint(c, get(url))
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// TestOneOfSeveral: each address that qualifies is given at times.
func TestOneOfSeveral(t *testing.T) {
	cfg := testConfig()
	f := newFixture(t, cfg)
	f.close()
	n := f.cluster.nodes["node1"]
	n.Children[0].Info.TCP = []string{"10.0.0.1:1", "[::1]:1", "10.0.0.2:1"}
	random := make([]byte, 0, 64*8)
	for i := range 64 {
		random = append(random, byte(i), 0, 0, 0, 0, 0, 0, 0)
	}
	f.random = strings.NewReader(string(random))
	seen := make(map[string]int)
	for range 64 {
		data, err := f.serverOne(newRequest(nil, asked("127.0.0.1:1", "h", "/1/server/get?k=a&p=2"), versioned))
		if err != nil {
			t.Fatal(err)
		}
		seen[string(data)]++
	}
	want := map[string]int{`{"server":"10.0.0.1:1"}`: 32, `{"server":"10.0.0.2:1"}`: 32}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("addresses given (-want +got):\n%s", diff)
	}
}

func TestReady(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	if err := f.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	f.cluster.ready = errors.New("fake: no message daemon answers")
	if err := f.Ready(t.Context()); !errors.Is(err, f.cluster.ready) {
		t.Errorf("Ready: %v, want %v", err, f.cluster.ready)
	}
}

// TestReload: secrets and networks are taken over, all of them or none, and
// what needs a restart is named.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	write := func(s string) {
		if err := os.WriteFile(secret, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-0123456789\n")
	cfg := testConfig()
	cfg.Admin.SecretFile = secret
	f := newFixture(t, cfg)
	f.close()
	allowed := func(s string) bool {
		return f.guardAdmin(asked("127.0.0.1:1", "localhost", "/1/admin/nodes", "Authorization: Bearer "+s)) == nil
	}
	if !allowed("first-0123456789") {
		t.Fatal("the secret is refused")
	}

	write("second-0123456789\n")
	restart, err := f.Reload(cfg)
	if err != nil || len(restart) > 0 || allowed("first-0123456789") || !allowed("second-0123456789") {
		t.Errorf("after a new secret: %v, %v, first allowed %t, second %t", restart, err, allowed("first-0123456789"), allowed("second-0123456789"))
	}

	next := cfg
	next.Auth = true
	next.Admin.Allow = []string{"127.0.0.0/8"}
	next.HTTP.Bind = []string{"127.0.0.1:1"}
	next.RPC.Timeout = config.Duration(time.Second)
	next.ZooKeeper.Addr = []string{"127.0.0.1:2182"}
	restart, err = f.Reload(next)
	if diff := cmp.Diff([]string{"http.bind", "rpc.timeout", "zookeeper.addr"}, restart); err != nil || diff != "" {
		t.Errorf("needs a restart: %v (-want +got):\n%s", err, diff)
	}
	if !f.rules.Load().auth || !allowed("anything, from an allowed network") {
		t.Error("auth and admin.allow were not taken over")
	}

	bad := cfg
	bad.Admin.Allow = []string{"nowhere"}
	if _, err = f.Reload(bad); err == nil || !f.rules.Load().auth {
		t.Errorf("a bad configuration: err = %v, and auth is %t, want the old rules", err, f.rules.Load().auth)
	}
}

// TestStat: each kind of answer is counted once, under its URL.
func TestStat(t *testing.T) {
	f := newContract(t)
	public, admin := f.HTTPAddrs()[0], f.AdminAddrs()[0]
	for _, url := range []string{"/1/time/get", "/1/time/get?cb=()", "/1/server/get?k=nobody&p=1", "/1/msg/get?k=down&m=0", "/x"} {
		exchange(t, public, get(url))
	}
	exchange(t, admin, get("/1/admin/push/private"))
	exchange(t, admin, post("/admin/push?key=a&expire=1", "1", "Origin: http://evil.example"))
	got, ok := f.Stat().(Stat)
	if !ok {
		t.Fatalf("Stat is a %T", f.Stat())
	}
	want := Stat{Requests: map[string]StatRequests{}, Refused: StatRefused{UnknownURL: 1, Method: 1, Access: 1}}
	for path := range got.Requests {
		want.Requests[path] = StatRequests{}
	}
	want.Requests["/1/time/get"] = StatRequests{OK: 1, Param: 1}
	want.Requests["/1/server/get"] = StatRequests{NoComet: 1}
	want.Requests["/1/msg/get"] = StatRequests{Internal: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stat (-want +got):\n%s", diff)
	}
	if len(got.Requests) != len(f.count.byPath) || len(got.Requests) < 14 {
		t.Errorf("%d URLs in stat", len(got.Requests))
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}
