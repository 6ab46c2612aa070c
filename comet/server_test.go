package comet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/peer"
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

func TestTCPReplies(t *testing.T) {
	r := start(t, func(c *Config) { c.Channel.MaxSubscriber = 2 })
	for range 2 {
		conn := r.dial()
		io.WriteString(conn, sub("full", "30"))
		expect(t, conn, "+h\r\n")
	}
	tests := []struct{ name, send, want string }{
		{"unknown command", "*3\r\n$3\r\npub\r\n$1\r\nk\r\n$2\r\n30\r\n", "-p\r\n"},
		{"no key", sub(), "-p\r\n"},
		{"empty key", sub("", "30"), "-p\r\n"},
		{"heartbeat under 30", sub("k", "29"), "-p\r\n"},
		{"heartbeat no number", sub("k", "x"), "-p\r\n"},
		{"another comet's key", sub("foreign", "30"), "-n\r\n"},
		{"too many sockets of the key", sub("full", "30"), "-c\r\n"},
		{"reply is not lost behind unread bytes", sub("k", "29") + strings.Repeat("h", 1000), "-p\r\n"},
		{"protocol error: too many arguments", "*8\r\n", ""},
		{"protocol error: negative length", "*1\r\n$-1\r\n\n", ""},
		{"protocol error: not a command", "GET / HTTP/1.1\r\n\r\n", ""},
		{"protocol error: no end", strings.Repeat("*", 5000), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := r.dial()
			io.WriteString(conn, tt.send)
			expect(t, conn, tt.want)
			expectEnd(t, conn)
		})
	}
}

func TestTCPSession(t *testing.T) {
	r := start(t, nil)
	c := r.rpc()
	tests := []struct {
		name, key, send, want string // heartbeats behind the command are answered
		old                   bool
	}{
		{"with a version", "s1", sub("s1", "30", "", "1.0"), "+h\r\n", false},
		{"without a version", "s2", sub("s2", "30"), "+h\r\n", true},
		{"empty version", "s3", sub("s3", "30", "tok", ""), "+h\r\n", true},
		{"four arguments: the last is the token", "s4", sub("s4", "30", "1.0.4"), "+h\r\n", true},
		{"long heartbeat", "s5", sub("s5", "10000", "", "1.0"), "+h\r\n", false},
		{"heartbeats in the command's segment", "s6", sub("s6", "30", "", "1.0") + "hhh", "+h\r\n+h\r\n+h\r\n+h\r\n", false},
		{"with mids", "s7", sub("s7", "30", "", "1.0", "0", "0"), "+h\r\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := r.dial()
			io.WriteString(conn, tt.send)
			expect(t, conn, tt.want)
			io.WriteString(conn, "hh")
			expect(t, conn, "+h\r\n+h\r\n")
			var ret int
			args := struct {
				Key    string
				Msg    json.RawMessage
				Expire uint
			}{tt.key, json.RawMessage(`{ "test" : "<1>" }`), 600}
			if err := c.Call("CometRPC.PushPrivate", args, &ret); err != nil || ret != 0 {
				t.Fatalf("PushPrivate: %d, %v", ret, err)
			}
			m := r.msgs.keys[tt.key].last
			body := fmt.Sprintf(`{"msg":{"test":"\u003c1\u003e"},"mid":%d,"gid":0}`, m)
			if tt.old {
				body = fmt.Sprintf(`{"msg":"{\"test\":\"\\u003c1\\u003e\"}","mid":%d,"gid":0}`, m)
			}
			expect(t, conn, fmt.Sprintf("$%d\r\n%s\r\n", len(body), body))
			io.WriteString(conn, "x") // any other byte: close
			expectEnd(t, conn)
		})
	}
}

func TestCommandMayComeInPieces(t *testing.T) {
	r := start(t, nil)
	conn := r.dial()
	for _, b := range []byte(sub("pieces", "30", "", "1.0")) {
		conn.Write([]byte{b})
	}
	expect(t, conn, "+h\r\n")
	big := r.dial()
	io.WriteString(big, sub("pieces", "30", strings.Repeat("t", 3000), "1.0"))
	expect(t, big, "+h\r\n")
}

func TestWebSocketSession(t *testing.T) {
	r := start(t, nil)
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=w1&heartbeat=30&ver=1.0&extra=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	text := func(want string) {
		t.Helper()
		typ, got, err := conn.ReadMessage()
		if err != nil || typ != websocket.TextMessage || string(got) != want {
			t.Fatalf("read type %d %q, %v; want text %q", typ, got, err, want)
		}
	}
	text("+h\r\n")
	for _, typ := range []int{websocket.TextMessage, websocket.BinaryMessage} {
		conn.WriteMessage(typ, []byte("h"))
		text("+h\r\n")
	}
	pong := ""
	conn.SetPongHandler(func(s string) error { pong = s; return nil })
	conn.WriteMessage(websocket.PingMessage, []byte("are you there"))
	conn.WriteMessage(websocket.TextMessage, []byte("h"))
	text("+h\r\n")
	if pong != "are you there" {
		t.Errorf("pong %q", pong)
	}
	var reply peer.PushReply
	if err := r.rpc().Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{{Keys: []string{"w1"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40, Nonce: "n"}}}, &reply); err != nil {
		t.Fatal(err)
	}
	text(fmt.Sprintf(`{"msg":1,"mid":%d,"gid":0}`, reply.Results[0].Mid))
	// A fragmented heartbeat, with a ping in between.
	raw := conn.NetConn()
	raw.Write([]byte{0x01, 0x80, 0, 0, 0, 0})
	raw.Write([]byte{0x89, 0x80, 0, 0, 0, 0})
	raw.Write([]byte{0x80, 0x81, 0, 0, 0, 0, 'h'})
	text("+h\r\n")
	if pong != "" { // the second ping's, which was empty
		t.Errorf("last pong %q", pong)
	}
	conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"))
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("close was answered with %v", err)
	}
}

func TestWebSocketRefusals(t *testing.T) {
	r := start(t, func(c *Config) { c.WebSocket.Origins = []string{"https://app.example.com"} })
	for _, tt := range []struct {
		name, query, want string
		code              int
	}{
		{"no key", "heartbeat=30", "-p\r\n", 1008},
		{"heartbeat", "key=k&heartbeat=5", "-p\r\n", 1008},
		{"another comet's", "key=foreign&heartbeat=30", "-n\r\n", 1012},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, got, err := conn.ReadMessage(); err != nil || string(got) != tt.want {
				t.Fatalf("read %q, %v; want %q", got, err, tt.want)
			}
			if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, tt.code) {
				t.Errorf("end: %v, want close %d", err, tt.code)
			}
		})
	}
	for origin, welcome := range map[string]bool{"": true, "https://app.example.com": true, "https://APP.example.com": true, "https://evil.example.com": false, "null": false} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", h)
		if (err == nil) != welcome {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			conn.Close()
		} else if resp.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: status %d, want 403", origin, resp.StatusCode)
		}
	}
	for _, bad := range [][]byte{
		{0x81, 0x01, 'h'},                    // not masked
		{0xc1, 0x81, 0, 0, 0, 0, 'h'},        // a reserved bit
		{0x80, 0x81, 0, 0, 0, 0, 'h'},        // continuation of nothing
		{0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0}, // 4 GiB
		{0x81, 0x81, 0, 0, 0, 0, 'x'},        // no heartbeat
		{0x81, 0x81, 0, 0, 0, 0, 0xff},       // not UTF-8
	} {
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.ReadMessage() // +h
		conn.NetConn().Write(bad)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _, err = conn.ReadMessage()
		var ce *websocket.CloseError
		if !errors.As(err, &ce) || !slices.Contains([]int{1002, 1007, 1008, 1009}, ce.Code) {
			t.Errorf("frame % x: %v, want a close frame", bad, err)
		}
		conn.Close()
	}
}

func TestAuth(t *testing.T) {
	r := start(t, func(c *Config) { c.Channel.Auth = true })
	try := func(key, token, want string) {
		t.Helper()
		conn := r.dial()
		io.WriteString(conn, sub(key, "30", token, "1.0"))
		expect(t, conn, want)
	}
	try("k", "secret", "-c\r\n")
	var ret int
	if err := r.rpc().Call("CometRPC.New", peer.NewArgs{Key: "k", Token: "secret"}, &ret); err != nil {
		t.Fatal(err)
	}
	try("k", "wrong", "-a\r\n")
	try("k", "", "-a\r\n")
	try("k", "secret", "+h\r\n")
	r.msgs.set(func(op string) error { return errDown }, nil)
	try("k", "secret", "+h\r\n") // remembered
	conn := r.dial()
	io.WriteString(conn, sub("other", "30", "secret", "1.0"))
	expectEnd(t, conn) // the store does not answer: closed without a reply
}

func TestServiceRefusesBadInput(t *testing.T) {
	r := start(t, nil)
	c := r.rpc()
	var ret int
	for name, err := range map[string]error{
		"no JSON":       c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: "k", Msg: json.RawMessage(`{"a":`)}, &ret),
		"no key":        c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Msg: json.RawMessage(`1`)}, &ret),
		"foreign key":   c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: "foreign", Msg: json.RawMessage(`1`)}, &ret),
		"no token":      c.Call("CometRPC.New", peer.NewArgs{Key: "k"}, &ret),
		"token, no key": c.Call("CometRPC.New", peer.NewArgs{Token: "t"}, &ret),
		"close no key":  c.Call("CometRPC.Close", "", &ret),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var reply peer.PushReply
	if err := c.Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{
		{Keys: []string{"k", "", strings.Repeat("k", 256), "foreign"}, Msg: json.RawMessage(`1`)},
		{Keys: []string{"k"}, Msg: json.RawMessage("{\n}")},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40, Nonce: `"`},
		{Keys: nil, Msg: json.RawMessage(`1`)},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: -1},
	}}, &reply); err != nil {
		t.Fatal(err)
	}
	var codes []peer.Code
	for _, res := range reply.Results {
		codes = append(codes, res.Code)
	}
	want := []peer.Code{peer.OK, peer.Invalid, peer.Invalid, peer.NotMine, peer.Invalid, peer.Invalid, peer.Invalid, peer.Invalid}
	if !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	var fk peer.PushPrivatesReply
	if err := c.Call("CometRPC.PushPrivates", peer.PushPrivatesArgs{Keys: []string{"a", "bad1", "foreign", "b"}, Msg: json.RawMessage(`1`), Expire: 60}, &fk); err != nil || !slices.Equal(fk.FKeys, []string{"bad1", "foreign"}) {
		t.Errorf("PushPrivates: fk %v, %v", fk.FKeys, err)
	}
	for i, epoch := range []int64{0, 6, 7, 8} { // an old web's, older than the comet's own, the same, newer
		args := peer.MigrateArgs{Nodes: map[string]int{"n": 1}, Epoch: epoch}
		if err := c.Call("CometRPC.Migrate", args, &ret); err != nil || len(r.ring.told) != i+1 || (ret == 0) != (epoch <= 7) {
			t.Errorf("Migrate of epoch %d: %d, %v, told %v", epoch, ret, err, r.ring.told)
		}
	}
	if err := c.Call("CometRPC.Ping", 0, &ret); err != nil || ret != 0 {
		t.Errorf("Ping: %d, %v", ret, err)
	}
}

func TestOldPushToAKeyNamedTwicePushesOnce(t *testing.T) {
	r := start(t, nil)
	for _, expire := range []uint{60, 0} {
		key := fmt.Sprint("twice", expire)
		conn := r.dial()
		io.WriteString(conn, sub(key, "30", "", "1.0"))
		expect(t, conn, "+h\r\n")
		var fk peer.PushPrivatesReply
		args := peer.PushPrivatesArgs{Keys: []string{key, "bad", key, "bad", key}, Msg: json.RawMessage(`1`), Expire: expire}
		if err := r.rpc().Call("CometRPC.PushPrivates", args, &fk); err != nil {
			t.Fatal(err)
		}
		var want []string
		if expire > 0 {
			want = []string{"bad"}
		}
		if !slices.Equal(fk.FKeys, want) {
			t.Errorf("expire %d: fk %v, want %v", expire, fk.FKeys, want)
		}
		var ret int
		if err := r.rpc().Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: key, Msg: json.RawMessage(`2`), Expire: expire}, &ret); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		for _, want := range []string{`{"msg":1,`, `{"msg":2,`} {
			in.ReadString('\n') // the length
			if body, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(body, want) {
				t.Errorf("expire %d: got %q, %v; want %s", expire, body, err, want)
			}
		}
	}
}

func TestCloseEndsTheKeysSessions(t *testing.T) {
	r := start(t, nil)
	a, b := r.dial(), r.dial()
	io.WriteString(a, sub("k", "30"))
	io.WriteString(b, sub("other", "30"))
	expect(t, a, "+h\r\n")
	expect(t, b, "+h\r\n")
	var ret int
	if err := r.rpc().Call("CometRPC.Close", "k", &ret); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, a)
	io.WriteString(b, "h")
	expect(t, b, "+h\r\n")
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.ReadMessage() // +h
	if err := r.rpc().Call("CometRPC.Close", "k", &ret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("websocket: %v, want close 1000", err)
	}
}

func TestDrainSaysGoodbyeAndLeavesFirst(t *testing.T) {
	r := start(t, nil)
	newer, old, silent := r.dial(), r.dial(), r.dial()
	io.WriteString(newer, sub("k", "30", "", "1.0"))
	io.WriteString(old, sub("k", "30"))
	expect(t, newer, "+h\r\n")
	expect(t, old, "+h\r\n")
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=w&heartbeat=30", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.ReadMessage()
	await(t, "the silent one to be accepted", func() bool { return r.stats.accepts[overTCP].Load() == 3 })
	r.stop()
	expect(t, newer, "-n\r\n")
	expectEnd(t, newer)
	expectEnd(t, old)
	expectEnd(t, silent)
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1012) {
		t.Errorf("websocket: %v, want close 1012", err)
	}
	for _, conn := range []net.Conn{newer, old, silent} {
		conn.Close()
	}
	select {
	case <-r.member.left:
	default:
		t.Error("sessions were sent away before the comet left the ring")
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.ended <- nil
	if _, err := net.Dial("tcp", r.info.TCP[0]); err == nil {
		t.Error("still accepting")
	}
	if err := r.Run(context.Background()); !errors.Is(err, ErrStarted) {
		t.Errorf("second Run: %v", err)
	}
}

func TestDrainEndsInTimeThoughAClientStalls(t *testing.T) {
	r := start(t, func(c *Config) { c.Drain.Timeout = 1e9; c.Channel.SndBuf.Size = 4096; c.Outbuf.Bytes = 1 << 24 })
	conn := r.dial()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	io.WriteString(conn, sub("k", "30", "", "1.0"))
	expect(t, conn, "+h\r\n")
	big := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	var reply peer.PushReply
	for i := range 8 {
		if err := r.rpc().Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{{Keys: []string{"k"}, Msg: big, ExpireAt: 1 << 40, Nonce: fmt.Sprint(i)}}}, &reply); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the client to be behind", func() bool { return r.stats.queued.Load() > 1<<20 })
	r.stop()
	select {
	case err := <-r.ended:
		r.ended <- err
	case <-time.After(20 * time.Second):
		t.Fatal("drain does not end")
	}
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
