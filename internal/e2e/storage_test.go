package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/testenv"
)

// TestRedisSources keeps messages on one Redis behind a password and one behind
// a unix socket.
func TestRedisSources(t *testing.T) {
	t.Parallel()
	const password = secretMark + "-redis"
	locked := testenv.Redis(t, "--requirepass", password)
	socket := filepath.Join(t.TempDir(), "s")
	local := testenv.Redis(t, "--unixsocket", socket)
	c := start(t, options{message: settings{
		`redis.source."shard1:1"`: "tcp@" + locked.Addr() + "#" + password,
		`redis.source."shard2:2"`: "unix@" + socket,
	}})
	for i := range 40 {
		key := fmt.Sprintf("source-%d", i)
		c.mustPush(key, fmt.Sprint(i))
		if m := c.mustFetch(key, 0); len(m) != 1 || m[0].msg != fmt.Sprint(i) {
			t.Errorf("%s: fetched %v, want %d", key, m, i)
		}
	}
	var keys []int
	for _, s := range []struct {
		addr string
		opts []redis.DialOption
	}{{locked.Addr(), []redis.DialOption{redis.DialPassword(password)}}, {local.Addr(), nil}} {
		conn, err := redis.Dial("tcp", s.addr, s.opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		names, err := redis.Strings(conn.Do("KEYS", "gopush:m:source-*"))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, len(names))
	}
	if keys[0] == 0 || keys[1] == 0 || keys[0]+keys[1] != 40 {
		t.Errorf("%d keys lie on the shards, want all 40 on both", keys)
	}
}

// TestRefusedRedis proves that a Redis with a wrong password, or one that drops
// what it was given, is not used, and that the daemon says why.
func TestRefusedRedis(t *testing.T) {
	t.Parallel()
	const password = secretMark + "-redis"
	locked := testenv.Redis(t, "--requirepass", password)
	forgetful := testenv.Redis(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	zk := testenv.ZooKeeper(t)
	for _, tt := range []struct{ name, source, want string }{
		{"wrong password", "tcp@" + locked.Addr() + "#wrong-" + secretMark, "password"},
		{"no password", "tcp@" + locked.Addr(), "auth"},
		{"eviction", "tcp@" + forgetful.Addr(), "redis.allow_eviction"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t, "message", 0, settings{
				"zookeeper.addr": []string{zk.Addr()}, `redis.source."shard1:1"`: tt.source,
			})
			d.Launch()
			testenv.Eventually(t, 15*time.Second, func() error {
				if out := strings.ToLower(d.Output()); !strings.Contains(out, tt.want) {
					return fmt.Errorf("the output lacks %q", tt.want)
				}
				return nil
			})
			if err := d.readyz(); err == nil {
				t.Error("the daemon is ready")
			}
			if strings.Contains(d.Output(), secretMark) {
				t.Error("the password is in the output")
			}
		})
	}
}

// TestEmbedded keeps messages in one file instead of Redis, over kill -9.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	c := start(t, options{message: settings{
		"storage.type": "embedded", "storage.path": t.TempDir(), "storage.store": 50,
		`redis.source."shard1:1"`: nil,
	}})
	const key = "embedded"
	for i := range 60 {
		c.mustPush(key, fmt.Sprint(i))
	}
	kept := c.mustFetch(key, 0)
	if err := rising(kept); err != nil || len(kept) != 50 || kept[49].msg != "59" {
		t.Fatalf("kept %v, %v, want the newest 50", kept, err)
	}
	c.messages[0].Kill()
	c.messages[0].Start()
	testenv.Eventually(t, 15*time.Second, func() error {
		again, err := c.fetch(c.webs[0], key, 0)
		if err == nil && !slices.Equal(again, kept) {
			err = fmt.Errorf("after kill -9: %v, want %v", again, kept)
		}
		return err
	})
}

// TestSlowClient proves that a client which does not read delays neither pushes
// nor other sockets of its key, and is ended.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	c := start(t, options{comet: settings{"channel.msgbuf": 16, "channel.sndbuf.size": "16KB"}})
	const key = "slow"
	slow := dialTCP(t, c.owner(key).tcp)
	if err := slow.conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	slow.send(command("sub", key, "30", "", "1.0"))
	slow.want("+h\r\n")
	fast := c.subscribe(key, "", "1.0")
	large := strings.Repeat("x", 32<<10)
	for i := range 200 {
		body := fmt.Sprintf(`"%d %s"`, i, large)
		c.mustPush(key, body)
		if m := fast.message(); m.msg != body {
			t.Fatalf("message %d: %.40s…, want %.40s…", i, m.msg, body)
		}
	}
	fast.beat()
	got := 0 // what the slow one finds is a beginning of all, and then the end
	for {
		body, err := slow.read(patience)
		if err != nil {
			break
		}
		if m, err := parseMessage(body); err != nil || !strings.HasPrefix(m.msg, fmt.Sprintf(`"%d x`, got)) {
			t.Fatalf("message %d of the slow client: %.40s…, %v", got, body, err)
		}
		got++
	}
	if got >= 200 {
		t.Error("the slow client got everything: nothing was slow")
	}
}
