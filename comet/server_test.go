package comet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"slices"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/registry"
)

// running is a comet that serves on loopback.
type running struct {
	*Server
	t      *testing.T
	msgs   *fakeMessages
	ring   *fakeRing
	member *fakeMember
	stop   context.CancelFunc
	ended  chan error
}

func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	cfg := testConfig()
	cfg.Legacy.Hold = 0
	cfg.Drain.Timeout = 10e9
	if change != nil {
		change(&cfg)
	}
	r := &running{t: t, msgs: newFakeMessages(), ring: newFakeRing(), member: &fakeMember{left: make(chan struct{}), set: make(chan registry.Info, 1)}, ended: make(chan error, 1)}
	s, err := New(cfg, Deps{Ring: r.ring, Moves: r.ring, Peers: r.ring, Messages: r.msgs, Join: func(i registry.Info) Member { r.member.info = i; return r.member }})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	await(t, "the shards to be known", func() bool { return s.Ready(t.Context()) == nil })
	return r
}

// dial connects to the TCP port.
func (r *running) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.info.TCP[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// sub returns the command with these arguments.
func sub(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args)+1)
	for _, a := range append([]string{"sub"}, args...) {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// expect reads exactly want.
func expect(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// expectEnd wants the server to have closed the socket without another byte.
func expectEnd(t *testing.T, conn io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(conn)
	if len(rest) > 0 || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

func (r *running) rpc() *rpc.Client {
	r.t.Helper()
	c, err := rpc.Dial("tcp", r.info.RPC[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

func TestNewReportsWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig()
	cfg.RPC.Bind = []string{taken.Addr().String()}
	if _, err := New(cfg, Deps{Messages: newFakeMessages()}); err == nil || !strings.Contains(err.Error(), "rpc.bind") {
		t.Errorf("taken port: %v", err)
	}
	cfg = testConfig()
	cfg.Channel.MsgBuf, cfg.ZooKeeper.Comet.Node, cfg.WebSocket.Origins = 0, "a/b", []string{"example.com"}
	_, err = New(cfg, Deps{})
	for _, want := range []string{"channel.msgbuf = 0: want 1..65536; remove the line for the default, 128", `zookeeper.comet.node = "a/b"`, `websocket.origins = "example.com"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestReload(t *testing.T) {
	r := start(t, nil)
	cfg := *r.cfg.Load()
	cfg.Channel.MaxSubscriber = 1
	cfg.Channel.Bucket = 7
	cfg.WebSocket.Origins = []string{"https://a.example"}
	restart, err := r.Reload(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(restart, []string{"channel.bucket"}) {
		t.Errorf("needs a restart: %v", restart)
	}
	bad := cfg
	bad.Channel.MaxSubscriber, bad.Channel.MsgBuf = 2, 0
	if _, err := r.Reload(bad); err == nil { // and one socket stays the limit
		t.Error("Reload of a file with an error = nil")
	}
	a, b := r.dial(), r.dial()
	io.WriteString(a, sub("k", "30"))
	expect(t, a, "+h\r\n")
	io.WriteString(b, sub("k", "30"))
	expect(t, b, "-c\r\n")
	var st bytes.Buffer
	if err := json.NewEncoder(&st).Encode(r.Stat()); err != nil || !strings.Contains(st.String(), `"sessions_tcp":1`) {
		t.Errorf("stat %s, %v", &st, err)
	}
}
