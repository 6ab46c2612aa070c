package message

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/testenv"
)

// member is a registry of one.
type member struct {
	mu     sync.Mutex
	info   registry.Info
	name   string
	events []string
	gone   chan struct{}
	away   error // what Leave says
}

func newMember() *member { return &member{gone: make(chan struct{})} }

func (m *member) note(event, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, event)
	m.name = name
}

func (m *member) Set(i registry.Info) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.info = i
}

func (m *member) Info() registry.Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

func (m *member) Name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.name
}

func (m *member) Run(ctx context.Context) error {
	m.note("run", "0000000001")
	select {
	case <-ctx.Done():
	case <-m.gone:
	}
	return nil
}

func (m *member) Leave(context.Context) error {
	m.note("leave", "")
	close(m.gone)
	return m.away
}

// daemon is a running Server.
type daemon struct {
	*Server
	member *member
	stop   func() error // ends Run and returns its error
}

func testConfig(t *testing.T) Config {
	cfg := DefaultConfig()
	cfg.RPC.Bind = []string{"127.0.0.1:0"}
	cfg.Storage.Type, cfg.Storage.Path = Embedded, t.TempDir()
	return cfg
}

// redisConfig returns a configuration with the shards at addrs.
func redisConfig(t *testing.T, addrs ...string) Config {
	cfg := testConfig(t)
	cfg.Storage.Type = Redis
	cfg.Redis.Source = make(map[string]Source)
	for i, addr := range addrs {
		cfg.Redis.Source[fmt.Sprintf("node%d:1", i+1)] = Source{Network: "tcp", Address: addr}
	}
	return cfg
}

// start runs a server until the test ends.
func start(t *testing.T, cfg Config) *daemon {
	t.Helper()
	d := &daemon{member: newMember()}
	var err error
	if d.Server, err = New(cfg, Deps{Member: d.member}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return d
}

// ready waits until d is.
func (d *daemon) ready(t *testing.T) *daemon {
	t.Helper()
	testenv.Eventually(t, 10*time.Second, func() error { return d.Ready(t.Context()) })
	return d
}

// client returns our own client of d.
func (d *daemon) client(t *testing.T) *peer.Message {
	t.Helper()
	c := rpcnet.NewClient(d.RPCAddrs()[0], rpcnet.ClientOptions{})
	t.Cleanup(c.Close)
	return peer.NewMessage(c)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func saveArgs(keys ...string) peer.SaveArgs {
	args := peer.SaveArgs{Bodies: []json.RawMessage{json.RawMessage(`{"n":1}`)}}
	for i, key := range keys {
		args.Items = append(args.Items, peer.SaveItem{
			Key: key, ExpireAt: time.Now().Add(time.Hour).Unix(), Nonce: fmt.Sprintf("%s-%d", strings.Repeat("n", 8), i),
		})
	}
	return args
}

// An old comet or web is a stock net/rpc client with structs of its own.
func TestOldCalls(t *testing.T) {
	type (
		SavePrivateArgs struct {
			Key    string
			Msg    json.RawMessage
			MsgId  int64
			Expire uint
		}
		SavePrivatesArgs struct {
			Keys   []string
			Msg    json.RawMessage
			MsgId  int64
			Expire uint
		}
		SavePrivatesReply struct{ FKeys []string }
		GetPrivateArgs    struct {
			MsgId int64
			Key   string
		}
		Message struct {
			Msg     json.RawMessage
			MsgId   int64
			GroupId uint
		}
		GetPrivateReply struct{ Msgs []*Message }
	)
	for _, kind := range []string{Embedded, Redis, MySQL} {
		t.Run(kind, func(t *testing.T) {
			cfg := testConfig(t)
			switch kind {
			case Redis:
				cfg = redisConfig(t, testenv.Redis(t).Addr())
			case MySQL:
				cfg = mysqlConfig(t, "gopush", testenv.MariaDB(t))
				migrate(t, cfg)
			}
			d := start(t, cfg).ready(t)
			c, err := rpc.Dial("tcp", d.RPCAddrs()[0])
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			call := func(method string, args, reply any) {
				t.Helper()
				if err := c.Call("MessageRPC."+method, args, reply); err != nil {
					t.Fatalf("%s: %v", method, err)
				}
			}
			get := func(key string, after int64) []*Message {
				t.Helper()
				var r GetPrivateReply
				call("GetPrivate", &GetPrivateArgs{after, key}, &r)
				return r.Msgs
			}
			var ret int
			call("Ping", 0, &ret)
			same(t, "Ping", ret, 0)

			const now = int64(13999084541846408) // odd, as old comets make them
			call("SavePrivate", &SavePrivateArgs{"k", json.RawMessage(` { "a" : "<b>" } `), now, 600}, &ret)
			call("SavePrivate", &SavePrivateArgs{"k", json.RawMessage(`2`), now + 1, 600}, &ret)
			call("SavePrivate", &SavePrivateArgs{"k", json.RawMessage(`0`), now - 1, 600}, &ret)
			same(t, "SavePrivate", ret, 0)
			var some SavePrivatesReply
			call("SavePrivates", &SavePrivatesArgs{[]string{"k", "k", "k2", "", strings.Repeat("x", 256), ""}, json.RawMessage(`"all"`), now + 2, 600}, &some)
			same(t, "FKeys", some.FKeys, []string{"", strings.Repeat("x", 256)})

			got := get("k", now-1)
			var texts []string
			for _, m := range got {
				texts = append(texts, fmt.Sprint(m.MsgId-now, string(m.Msg), m.GroupId))
			}
			same(t, "GetPrivate", texts, []string{`0{"a":"\u003cb\u003e"}0`, `120`, `2"all"0`})
			same(t, "all of them", len(get("k", 0)), 4)
			same(t, "the other key", len(get("k2", 0)), 1)
			same(t, "an unknown key", len(get("none", 0)), 0)

			call("DelPrivate", "k", &ret)
			same(t, "deleted", len(get("k", 0)), 0)
			same(t, "the other key is left", len(get("k2", 0)), 1)

			for name, args := range map[string]*SavePrivateArgs{
				"no key":       {"", json.RawMessage(`1`), now, 600},
				"a long key":   {strings.Repeat("x", 256), json.RawMessage(`1`), now, 600},
				"no JSON":      {"k", json.RawMessage(`{`), now, 600},
				"no UTF-8":     {"k", json.RawMessage("\"\xff\""), now, 600},
				"no mid":       {"k", json.RawMessage(`1`), 0, 600},
				"negative mid": {"k", json.RawMessage(`1`), -80, 600},
				"mid is taken": {"k2", json.RawMessage(`"another"`), now + 2, 600},
			} {
				if err := c.Call("MessageRPC.SavePrivate", args, &ret); err == nil || !strings.Contains(err.Error(), peer.ErrInvalid.Error()) {
					t.Errorf("%s: %v, want an error", name, err)
				}
			}
			if err := c.Call("MessageRPC.SavePrivates", &SavePrivatesArgs{[]string{"k"}, json.RawMessage(`{`), now, 600}, &some); err == nil {
				t.Error("SavePrivates of no JSON: no error")
			}
			huge := ^uint(0)
			call("SavePrivate", &SavePrivateArgs{"long", json.RawMessage(`1`), now, huge}, &ret)
			same(t, "an expiry past the end of time", len(get("long", 0)), 1)
		})
	}
}

func TestSaveAndRead(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	c := d.client(t)
	args := saveArgs("a", "b", "a")
	got, err := c.Save(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	a, b := got.Results[0], got.Results[1]
	if a.Code != peer.OK || a.Prev != 0 || a.Mid <= 0 || b.Code != peer.OK || got.Results[2].Prev != a.Mid {
		t.Errorf("got %+v", got.Results)
	}
	last := got.Results[2].Mid
	args.Items[0].Retry = true
	again, err := c.Save(t.Context(), peer.SaveArgs{Bodies: args.Bodies, Items: args.Items[:1]})
	if err != nil || again.Results[0] != (peer.SaveResult{Mid: a.Mid, Prev: a.Mid}) {
		t.Errorf("repeated: %+v, %v; want mid and prev %d", again.Results, err, a.Mid)
	}
	named := args.Items[1]
	named.Named, named.Nonce = true, "id"
	args.Bodies = append(args.Bodies, json.RawMessage(`"other"`))
	other := named
	other.Body = len(args.Bodies) - 1
	got, err = c.Save(t.Context(), peer.SaveArgs{Bodies: args.Bodies, Items: []peer.SaveItem{named, named, other}})
	if err != nil {
		t.Fatal(err)
	}
	n := got.Results[0]
	same(t, "with an id", got.Results, []peer.SaveResult{{Mid: n.Mid, Prev: b.Mid}, {Mid: n.Mid, Prev: n.Mid}, {Code: peer.Conflict}})
	read, err := c.Read(t.Context(), peer.ReadArgs{Items: []peer.ReadItem{{Key: "a", Limit: 1}, {Key: "a"}, {Key: ""}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []peer.ReadResult{
		{Msgs: []peer.Stored{{Msg: args.Bodies[0], Mid: a.Mid, ExpireAt: args.Items[0].ExpireAt}}, Last: last, Next: a.Mid},
		{Last: last},
		{Code: peer.Invalid},
	}
	same(t, "Read", read.Results, want)

	shards, err := c.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Shards", shards, peer.ShardsReply{Base: 255, Nodes: map[string]int{"embedded": 1}})
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if empty, err := c.Save(t.Context(), peer.SaveArgs{}); err != nil || len(empty.Results) != 0 {
		t.Errorf("nothing to save: %+v, %v", empty, err)
	}
}

// What is wrong with one item is its own.
func TestSaveInvalid(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	c := d.client(t)
	args := saveArgs("no key", "long key", "low body", "high body", "empty body", "bad nonce", "long nonce", "no expiry", "late expiry", "id without a nonce", "good")
	args.Bodies = append(args.Bodies, nil)
	items := args.Items
	items[0].Key = ""
	items[1].Key = strings.Repeat("x", 256)
	items[2].Body = -1
	items[3].Body = 2
	items[4].Body = 1
	items[5].Nonce = `"`
	items[6].Nonce = strings.Repeat("x", 65)
	items[7].ExpireAt = 0
	items[8].ExpireAt = maxExpiry + 1
	items[9].Nonce, items[9].Named = "", true
	got, err := c.Save(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Results {
		want := peer.Invalid
		if i == len(items)-1 {
			want = peer.OK
		}
		if r.Code != want {
			t.Errorf("%s: code %d, want %d", items[i].Key, r.Code, want)
		}
	}
}

func TestTokenCalls(t *testing.T) {
	cfg := testConfig(t)
	cfg.Token.PepperFile = filepath.Join(t.TempDir(), "pepper")
	write := func(pepper string) {
		if err := os.WriteFile(cfg.Token.PepperFile, []byte(pepper), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one-0123456789abcdef")
	d := start(t, cfg).ready(t)
	c := d.client(t)
	check := func(when, token string, want peer.TokenState) {
		t.Helper()
		if got, err := c.TokenCheck(t.Context(), peer.TokenArgs{Key: "k", Token: token}); err != nil || got.State != want {
			t.Errorf("%s: token %q is %+v, %v; want %d", when, token, got, err, want)
		}
	}
	check("at first", "0", peer.TokenNone)
	if err := c.TokenAdd(t.Context(), peer.TokenArgs{Key: "k", Token: "0"}); err != nil {
		t.Fatal(err)
	}
	check("added", "0", peer.TokenLive)
	check("added", "", peer.TokenOther)
	check("added", strings.Repeat("x", 5000), peer.TokenOther)
	for name, args := range map[string]peer.TokenArgs{
		"no key":       {Token: "t"},
		"no token":     {Key: "k"},
		"a huge token": {Key: "k", Token: strings.Repeat("t", maxToken+1)},
		"a past end":   {Key: "k", Token: "t", Expire: -1},
	} {
		if err := c.TokenAdd(t.Context(), args); !errors.Is(err, peer.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}

	write("two-0123456789abcdef")
	if _, err := d.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	check("another pepper", "0", peer.TokenOther)
	write("one-0123456789abcdef")
	if _, err := d.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	check("the first again", "0", peer.TokenLive)
}

func TestPepperAndKeyAreInTheHash(t *testing.T) {
	seen := map[string]string{}
	for _, in := range [][3]string{{"", "k", "t"}, {"p", "k", "t"}, {"p", "kt", ""}, {"p", "", "kt"}, {"p", "k", "u"}} {
		h := hashToken([]byte(in[0]), in[1], in[2])
		if strings.Contains(h, in[2]) && len(in[2]) > 1 || seen[h] != "" {
			t.Errorf("%q hashes to %s, like %s", in, h, seen[h])
		}
		seen[h] = fmt.Sprint(in)
	}
}

// keysOf returns n keys of each shard.
func keysOf(s *shards, n int) map[string][]string {
	keys := make(map[string][]string)
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i)
		name := s.of(key).name
		if len(keys[name]) < n {
			keys[name] = append(keys[name], key)
		}
		full := len(keys) == len(s.all)
		for _, k := range keys {
			full = full && len(k) == n
		}
		if full {
			return keys
		}
	}
}

func TestHungShard(t *testing.T) {
	t.Run(Redis, func(t *testing.T) {
		r1, r2 := testenv.Redis(t), testenv.Redis(t)
		testHungShard(t, redisConfig(t, r1.Addr(), r2.Addr()), r1.Process)
	})
	t.Run(MySQL, func(t *testing.T) {
		m1, m2 := testenv.MariaDB(t), testenv.MariaDB(t)
		cfg := mysqlConfig(t, "gopush", m1, m2)
		migrate(t, cfg)
		testHungShard(t, cfg, m1.Process)
	})
}

// testHungShard: a shard that hangs, the first of two, fails its own keys within
// the budget and no others.
func testHungShard(t *testing.T, cfg Config, node1 *testenv.Process) {
	d := start(t, cfg).ready(t)
	c := d.client(t)
	keys := keysOf(d.shards, 4)
	hung, fine := keys["node1"], keys["node2"]
	if _, err := c.Save(t.Context(), saveArgs(append(hung, fine...)...)); err != nil {
		t.Fatal(err)
	}
	node1.Pause()

	const budget = 4 * time.Second // a tenth of it is for a busy machine
	mixed := saveArgs(hung[0], fine[0], hung[1], fine[1])
	begun := time.Now()
	got, err := c.Save(within(t, budget), mixed) // the answer comes within the caller's time
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Results {
		if want := []peer.Code{peer.Failed, peer.OK}[i%2]; r.Code != want {
			t.Errorf("%s: code %d, want %d", mixed.Items[i].Key, r.Code, want)
		}
	}
	t.Logf("a mixed save was answered after %v", time.Since(begun))
	// Meanwhile and afterwards the other shard's keys are served.
	for range 20 {
		got, err := c.Save(within(t, budget), saveArgs(fine...))
		if err != nil || got.Results[0].Code != peer.OK {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	// The breaker opens, and then nobody waits for the hung one any more.
	testenv.Eventually(t, 5*time.Second, func() error {
		if d.shards.byName["node1"].down() == nil {
			return errors.New("node1 still counts as up")
		}
		return nil
	})
	for range 50 { // far more than its budget allows, if each of them waited
		got, err := c.Save(within(t, 2*time.Second), saveArgs(hung...))
		if err != nil || got.Results[0].Code != peer.Failed {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("Ping with one shard left: %v", err)
	}
	if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "node1") {
		t.Errorf("Ready: %v, want an error that names node1", err)
	}
	if err := c.Delete(t.Context(), hung[0]); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("Delete: %v, want ErrFailed", err)
	}
	if _, err := c.TokenCheck(t.Context(), peer.TokenArgs{Key: hung[0], Token: "t"}); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("TokenCheck: %v, want ErrFailed", err)
	}

	node1.Resume()
	d.ready(t)
	again, err := c.Save(t.Context(), saveArgs(hung...))
	if err != nil || slices.ContainsFunc(again.Results, func(r peer.SaveResult) bool { return r.Code != peer.OK }) {
		t.Errorf("after it woke: %+v, %v", again, err)
	}
	same(t, "goroutines waiting", d.shards.byName["node1"].waiting.Load(), 0)
}

// A Redis that is not there yet is waited for; until then nobody is told that
// this daemon serves.
func TestWaitsForRedis(t *testing.T) {
	up, late := testenv.Redis(t), testenv.Redis(t)
	late.Kill()
	d := start(t, redisConfig(t, up.Addr(), late.Addr()))
	c := d.client(t)
	keys := keysOf(d.shards, 1)
	testenv.Eventually(t, 5*time.Second, func() error { return d.shards.byName["node1"].down() })
	got, err := c.Save(within(t, 2*time.Second), saveArgs(keys["node1"][0], keys["node2"][0]))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "codes", []peer.Code{got.Results[0].Code, got.Results[1].Code}, []peer.Code{peer.OK, peer.Failed})
	if name := d.member.Name(); name != "" {
		t.Errorf("registered as %s before all stores answered", name)
	}
	if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "node2") {
		t.Errorf("Ready: %v, want an error that names node2", err)
	}
	late.Start()
	d.ready(t)
	same(t, "told", d.member.Info(), registry.Info{RPC: d.RPCAddrs(), Weight: 1})
}

// A database without our tables is waited for like one that is away, and who asks
// is told which command makes them.
func TestWaitsForSchema(t *testing.T) {
	server := testenv.MariaDB(t)
	cfg := mysqlConfig(t, "gopush", server)
	d := start(t, cfg)
	testenv.Eventually(t, 10*time.Second, func() error {
		if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "message -c FILE -migrate-schema") {
			return fmt.Errorf("Ready: %v, want the command", err)
		}
		return nil
	})
	if got, err := d.client(t).Save(within(t, 5*time.Second), saveArgs("k")); err != nil || got.Results[0].Code != peer.Failed {
		t.Errorf("Save: %+v, %v, want a failure", got, err)
	}
	if name := d.member.Name(); name != "" {
		t.Errorf("registered as %s", name)
	}
	migrate(t, cfg)
	d.ready(t)
	if got, err := d.client(t).Save(within(t, 5*time.Second), saveArgs("k")); err != nil || got.Results[0].Code != peer.OK {
		t.Errorf("Save: %+v, %v", got, err)
	}

	// Somebody drops a table under it.
	rows(t, dialMySQL(t, server), "DROP TABLE gopush_record")
	testenv.Eventually(t, 10*time.Second, func() error {
		_, _ = d.client(t).Save(within(t, 5*time.Second), saveArgs("k"))
		if err := d.Ready(t.Context()); !errors.Is(err, errSchema) {
			return fmt.Errorf("Ready: %v, want errSchema", err)
		}
		return nil
	})
	migrate(t, cfg)
	d.ready(t)
}

func TestNoRedisAtAll(t *testing.T) {
	d := start(t, redisConfig(t, testenv.FreeAddr(t)))
	if err := d.client(t).Ping(t.Context()); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("Ping: %v, want ErrFailed", err)
	}
	if err := d.stop(); err != nil {
		t.Errorf("stopped while it waited: %v", err)
	}
	same(t, "never registered", d.member.events, []string{"leave"})
}

func TestRefusesEviction(t *testing.T) {
	r := testenv.Redis(t, "--maxmemory-policy", "allkeys-lru")
	cfg := redisConfig(t, r.Addr())
	s, err := New(cfg, Deps{Member: newMember()})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(within(t, 20*time.Second))
	if !errors.Is(err, errSetup) || !strings.Contains(err.Error(), "allow_eviction") {
		t.Errorf("Run: %v, want an error that names the fix", err)
	}
	cfg.Redis.AllowEviction = true
	start(t, cfg).ready(t)
}

// The order of the end: leave, serve on for a moment, finish, close.
func TestDrain(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	c := d.client(t)
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	testenv.Eventually(t, 5*time.Second, func() error {
		if d.member.Name() != "" {
			return errors.New("still registered")
		}
		return nil
	})
	// It has left, and still serves whoever has not heard of it.
	if got, err := c.Save(t.Context(), saveArgs("late")); err != nil || got.Results[0].Code != peer.OK {
		t.Errorf("a call after it left: %+v, %v", got, err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	same(t, "membership", d.member.events, []string{"run", "leave"})
	if _, err := net.DialTimeout("tcp", d.RPCAddrs()[0], time.Second); err == nil {
		t.Error("the port is still open")
	}
	if err := d.Run(t.Context()); !errors.Is(err, ErrStarted) {
		t.Errorf("second Run: %v", err)
	}

	// What was acknowledged is in the file, and the file is free.
	again := start(t, d.cfg).ready(t)
	read, err := again.client(t).Read(t.Context(), peer.ReadArgs{Items: []peer.ReadItem{{Key: "late", Limit: 9}}})
	if err != nil || len(read.Results[0].Msgs) != 1 {
		t.Errorf("after a restart: %+v, %v", read, err)
	}
}

// A registry that is away when the daemon ends is no failure of the daemon's:
// what was acknowledged is stored.
func TestDrainWithoutRegistry(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	d.member.away = errors.New("no session")
	if err := d.stop(); err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
	same(t, "membership", d.member.events, []string{"run", "leave"})
}

func TestNewFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	first := start(t, testConfig(t))
	for _, test := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"a taken port", func(c *Config) { c.RPC.Bind = []string{taken.Addr().String()} }, taken.Addr().String()},
		{"one of two taken", func(c *Config) { c.RPC.Bind = append(c.RPC.Bind, taken.Addr().String()) }, taken.Addr().String()},
		{"a file in use", func(c *Config) { c.Storage.Path = first.cfg.Storage.Path }, "in use"},
		{"a path that is a file", func(c *Config) { c.Storage.Path = filepath.Join(first.cfg.Storage.Path, boltFile) }, "storage.path"},
		{"no secret beyond loopback", func(c *Config) { c.RPC.Bind = []string{"0.0.0.0:0"} }, "rpc.secret_file"},
		{"no pepper", func(c *Config) { c.Token.PepperFile = "/no/such/file" }, "token.pepper_file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t)
			test.edit(&cfg)
			_, err := New(cfg, Deps{Member: newMember()})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	c := d.client(t)
	next := d.cfg
	next.Storage.Store, next.Node.Weight = 2, 7
	restart, err := d.Reload(next)
	if err != nil || len(restart) != 0 {
		t.Fatalf("Reload: %v, %v", restart, err)
	}
	same(t, "weight", d.member.Info().Weight, 7)
	if _, err := c.Save(t.Context(), saveArgs("k", "k", "k", "k")); err != nil {
		t.Fatal(err)
	}
	read, err := c.Read(t.Context(), peer.ReadArgs{Items: []peer.ReadItem{{Key: "k", Limit: 9}}})
	if err != nil || len(read.Results[0].Msgs) != 2 {
		t.Errorf("kept: %+v, %v; want 2", read, err)
	}

	next.RPC.Timeout = config.Duration(3 * time.Second)
	next.Redis.Source = map[string]Source{"other:1": {Network: "tcp", Address: "localhost:1"}}
	next.MySQL.Source = map[string]MySQLSource{"other:1": {Network: "tcp", Address: "localhost:1", Database: "d", User: "u"}}
	if restart, err = d.Reload(next); err != nil {
		t.Fatal(err)
	}
	same(t, "needs a restart", restart, []string{"mysql.source", "redis.source", "rpc.timeout"})
	pw := Source{Network: "tcp", Address: "localhost:1", Password: config.NewSecret([]byte("a"))}
	again := pw
	again.Password = config.NewSecret([]byte("a"))
	if !sameSources(map[string]Source{"n:1": pw}, map[string]Source{"n:1": again}) {
		t.Error("equal passwords are said to need a restart")
	}
	bad := next
	bad.Node.Weight = 0
	if _, err := d.Reload(bad); err == nil {
		t.Error("a bad configuration was taken over")
	}
	same(t, "weight", d.member.Info().Weight, 7)
}

// A web asks which keys had messages saved without their comet.
func TestPendingCalls(t *testing.T) {
	r1, r2 := testenv.Redis(t), testenv.Redis(t)
	d := start(t, redisConfig(t, r1.Addr(), r2.Addr())).ready(t)
	c := d.client(t)
	keys := keysOf(d.shards, 3)
	args := saveArgs(append(keys["node1"], keys["node2"]...)...)
	for i := range args.Items {
		args.Items[i].Pending, args.Items[i].Floor = i%3 != 2, mid.Unknown
	}
	if _, err := c.Save(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	names := func(limit int) []string {
		t.Helper()
		got, err := c.Pending(within(t, 3*time.Second), limit)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, k := range got {
			out = append(out, k.Key)
		}
		slices.Sort(out)
		return out
	}
	want := []string{keys["node1"][0], keys["node1"][1], keys["node2"][0], keys["node2"][1]}
	slices.Sort(want)
	same(t, "pending", names(10), want)
	same(t, "one of each shard", len(names(1)), 2)

	got, err := c.Pending(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	same(t, "after two were settled", len(names(10)), 2)
	if _, err := c.Pending(t.Context(), 0); !errors.Is(err, peer.ErrInvalid) {
		t.Errorf("no limit: %v, want ErrInvalid", err)
	}

	r1.Kill()
	same(t, "one shard is away", len(names(10)), 1)
	if err := c.Settle(within(t, 3*time.Second), []peer.PendingKey{{Key: keys["node1"][1], Mid: 80}}); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("Settle on a shard that is away: %v, want ErrFailed", err)
	}
	r2.Kill()
	if _, err := c.Pending(within(t, 3*time.Second), 1); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("no shard is left: %v, want ErrFailed", err)
	}
}

func TestStatIsJSON(t *testing.T) {
	d := start(t, testConfig(t)).ready(t)
	if _, err := d.client(t).Save(t.Context(), saveArgs("k")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d.Stat())
	if err != nil {
		t.Fatal(err)
	}
	var got Stat
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Shards) != 1 || !got.Shards[0].Up || got.Shards[0].Calls != 1 || got.Shards[0].Failed != 0 {
		t.Errorf("got %s", text)
	}
}
