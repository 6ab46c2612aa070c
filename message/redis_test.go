package message

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/testenv"
)

// testRedis returns options for the server at addr.
func testRedis(addr string, now func() time.Time) redisOptions {
	return redisOptions{
		Network: "tcp", Address: addr, Prefix: DefaultRedisPrefix,
		Idle: 8, Active: 32, IdleTimeout: time.Minute, Newest: keepForTest, Now: now,
	}
}

// dialRedis returns a connection of the test's own.
func dialRedis(t *testing.T, addr string) redis.Conn {
	t.Helper()
	c, err := redis.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t *testing.T, c redis.Conn, cmd string, args ...any) any {
	t.Helper()
	v, err := c.Do(cmd, args...)
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return v
}

func TestRedisStore(t *testing.T) {
	server := testenv.Redis(t)
	testStore(t, func(t *testing.T, c *clock) *fixture {
		admin := dialRedis(t, server.Addr())
		f := &fixture{store: openRedis(testRedis(server.Addr(), c.now))}
		f.old = func(key, score, member string) {
			do(t, admin, "ZADD", DefaultRedisPrefix+key, score, member)
		}
		f.reopen = func() store {
			server.Kill() // every acknowledged write is on its disk
			server.Start()
			admin = dialRedis(t, server.Addr())
			return f.store // its pool is full of connections that died
		}
		return f
	})
}

// The keys of strangers and our own names must not meet.
func TestRedisNames(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	for _, test := range []struct {
		name, prefix, key string
		want              error
	}{
		{"default prefix, any key", DefaultRedisPrefix, "gopush:t:k", nil},
		{"no prefix, plain key", "", "k", nil},
		{"no prefix, a token's name", "", "gopush:t:k", errReserved},
		{"no prefix, a name under the default one", "", "gopush:m:k", errReserved},
		{"half a prefix", "gop", "ush:r:k", errReserved},
	} {
		t.Run(test.name, func(t *testing.T) {
			do(t, admin, "FLUSHALL")
			o := testRedis(server.Addr(), time.Now)
			o.Prefix = test.prefix
			s := openRedis(o)
			defer s.Close()
			it := item{key: test.key, msg: message(`1`, time.Now().Add(time.Hour).Unix(), "")}
			it.msg.Mid = 80
			good := it
			good.key = "plain"
			got := s.Save(t.Context(), []item{it, good})
			if !errors.Is(got[0].err, test.want) || got[1].err != nil {
				t.Fatalf("Save: %v, %v; want %v, nil", got[0].err, got[1].err, test.want)
			}
			it.key += "2"
			if err := s.Put(t.Context(), []item{it})[0]; !errors.Is(err, test.want) {
				t.Errorf("Put: %v", err)
			}
			if err := s.Read(t.Context(), []query{{key: test.key, limit: 9}})[0].err; !errors.Is(err, test.want) {
				t.Errorf("Read: %v", err)
			}
			if err := s.Delete(t.Context(), test.key); !errors.Is(err, test.want) {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

func TestRedisTimeToLive(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	ttl := func(name string) int {
		t.Helper()
		n, err := redis.Int(admin.Do("TTL", name))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	between := func(what string, got, lo, hi int) {
		t.Helper()
		if got < lo || got > hi {
			t.Errorf("%s: TTL %d, want %d..%d", what, got, lo, hi)
		}
	}
	save := func(s *redisStore, key string, life time.Duration) {
		t.Helper()
		if err := s.Save(t.Context(), []item{{key: key, msg: message(`1`, time.Now().Add(life).Unix(), "")}})[0].err; err != nil {
			t.Fatal(err)
		}
	}
	const week = 7 * 24 * 3600
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()

	save(s, "k", time.Hour)
	between("messages", ttl("gopush:m:k"), 3600, 3660)
	between("record", ttl("gopush:r:k"), week+3590, week+3601)
	save(s, "k", time.Minute)
	between("a shorter one lowers nothing", ttl("gopush:m:k"), 3590, 3660)
	between("nor in the record", ttl("gopush:r:k"), week+3590, week+3601)
	save(s, "k", 2*time.Hour)
	between("a longer one raises it", ttl("gopush:m:k"), 7200, 7260)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	between("record after deletion", ttl("gopush:r:k"), week+7190, week+7201)

	do(t, admin, "ZADD", "gopush:m:old", 80, `{"msg":1,"expire":9999999999}`)
	save(s, "old", time.Hour)
	between("a set that lives for ever", ttl("gopush:m:old"), -1, -1)

	save(s, "late", -time.Minute)
	between("expired before it came", ttl("gopush:m:late"), 1, 60)

	o := testRedis(server.Addr(), time.Now)
	o.Prefix = ""
	shared := openRedis(o)
	defer shared.Close()
	save(shared, "s", time.Hour)
	between("shared with old daemons", ttl("s"), -1, -1)
	between("its record", ttl("gopush:r:s"), week+3590, week+3601)
	if got := openAndCheck(t, shared, "s"); got != 1 {
		t.Errorf("%d messages under the plain name, want 1", got)
	}

	for _, s := range []*redisStore{s, shared} { // the name is ours either way
		key := "id" + s.Prefix
		it := item{key: key, msg: message(`1`, time.Now().Add(time.Second).Unix(), "i1"), named: true}
		if err := s.Save(t.Context(), []item{it})[0].err; err != nil {
			t.Fatal(err)
		}
		between("id of "+key, ttl("gopush:i:i1:"+key), 598, 600)
	}

	if err := s.AddToken(t.Context(), newToken(nil, "k", "a", 100, time.Now())); err != nil {
		t.Fatal(err)
	}
	between("tokens", ttl("gopush:t:k"), 98, 100)
	if err := s.AddToken(t.Context(), newToken(nil, "k", "b", 50, time.Now())); err != nil {
		t.Fatal(err)
	}
	between("tokens, as long as the longest", ttl("gopush:t:k"), 97, 100)
}

func openAndCheck(t *testing.T, s *redisStore, key string) int {
	t.Helper()
	r := s.Read(t.Context(), []query{{key: key, limit: 99}})[0]
	if r.err != nil {
		t.Fatal(r.err)
	}
	return len(r.msgs)
}

// What we store must be readable for an old daemon, and the other way round.
func TestRedisMemberForm(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	expire := time.Now().Add(time.Hour).Unix()
	got := s.Save(t.Context(), []item{{key: "k", msg: message(`{"a":1}`, expire, "n-1_Z"), pending: true}})[0]
	if got.err != nil {
		t.Fatal(got.err)
	}
	row, err := redis.Strings(admin.Do("ZRANGE", "gopush:m:k", 0, -1, "WITHSCORES"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf(`{"mid":%d,"nonce":"n-1_Z","expire":%d,"msg":{"a":1}}`, got.mid, expire), strconv.FormatInt(got.mid, 10)}
	same(t, "member and score", row, want)
	row, err = redis.Strings(admin.Do("ZRANGE", "gopush:p", 0, -1, "WITHSCORES"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "pending", row, []string{"k", strconv.FormatInt(got.mid, 10)})
}

// A day is long enough for a web to drain the pending set; after that it must
// not grow for ever.
// Another writer's members are read as JSON, whatever the order of their fields.
func TestRedisForeignMemberInAnotherOrder(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	do(t, admin, "ZADD", DefaultRedisPrefix+"k", 80, `{"expire":1,"msg":"over"}`)
	do(t, admin, "ZADD", DefaultRedisPrefix+"k", 160, `{ "expire" : 9999999999, "msg" : "kept" }`)
	do(t, admin, "ZADD", DefaultRedisPrefix+"k", 240, `{"mid":240,"nonce":"n","expire":9999999999,"msg":broken}`) // like ours, but for the JSON
	got := s.Read(t.Context(), []query{{key: "k", limit: 10}})[0]
	if got.err != nil || len(got.msgs) != 1 || string(got.msgs[0].Body) != `"kept"` {
		t.Errorf("read %v, %v; want the one that has not expired", got.msgs, got.err)
	}
}

func TestRedisPendingIsBounded(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	c := newClock()
	s := openRedis(testRedis(server.Addr(), c.now))
	defer s.Close()
	save := func(key string) {
		t.Helper()
		if err := s.Save(t.Context(), []item{{key: key, msg: message(`1`, c.in(time.Hour), ""), pending: true}})[0].err; err != nil {
			t.Fatal(err)
		}
	}
	save("first")
	c.advance(pendingKept - time.Minute)
	save("second")
	c.advance(2 * time.Minute)
	save("third")
	row, err := redis.Strings(admin.Do("ZRANGE", "gopush:p", 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "pending", row, []string{"second", "third"})
}

// One key's trouble is not another's, nor does it leave half a save behind.
func TestRedisErrorsAreTheItems(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	do(t, admin, "SET", "gopush:m:string", "x")
	do(t, admin, "SET", "gopush:r:record", "nonsense")
	do(t, admin, "LPUSH", "gopush:r:list", "x")
	do(t, admin, "SET", "gopush:i:n:id", "nonsense")
	do(t, admin, "LPUSH", "gopush:i:n:idlist", "x")
	expire := time.Now().Add(time.Hour).Unix()
	var items []item
	for _, key := range []string{"good", "string", "record", "list", "id", "idlist", "good"} {
		it := item{key: key, msg: message(`1`, expire, "")}
		if strings.HasPrefix(key, "id") {
			it.named, it.msg.Nonce = true, "n"
		}
		items = append(items, it)
	}
	got := s.Save(t.Context(), items)
	for i, wantErr := range []bool{false, true, true, true, true, true, false} {
		err := got[i].err
		if (err != nil) != wantErr {
			t.Errorf("%s: %v", items[i].key, err)
		}
		if wantErr && (errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), strconv.Quote(items[i].key))) {
			t.Errorf("%s: %v, want an answer of Redis that names the key", items[i].key, err)
		}
	}
	if n := do(t, admin, "EXISTS", "gopush:m:record", "gopush:m:list", "gopush:m:id", "gopush:m:idlist"); n != int64(0) {
		t.Errorf("%d of the failed saves left a message", n)
	}
	found := s.Read(t.Context(), []query{{key: "string", limit: 9}, {key: "good", limit: 9}})
	if found[0].err == nil || found[1].err != nil || len(found[1].msgs) != 2 {
		t.Errorf("Read: %v; %d messages, %v", found[0].err, len(found[1].msgs), found[1].err)
	}

	do(t, admin, "SET", "gopush:p", "x")
	bad := item{key: "p", msg: message(`1`, expire, ""), pending: true}
	if err := s.Save(t.Context(), []item{bad})[0].err; err == nil {
		t.Error("a save that could not be noted as pending is said to be done")
	}
	if n := openAndCheck(t, s, "p"); n != 0 {
		t.Errorf("a failed save left %d messages", n)
	}

	do(t, admin, "CONFIG", "SET", "maxmemory", "1")
	if err := s.Save(t.Context(), items[:1])[0].err; err == nil || errors.Is(err, errUnavailable) {
		t.Errorf("Redis is full: %v", err)
	}
	do(t, admin, "CONFIG", "SET", "maxmemory", "0")
	if err := s.Save(t.Context(), items[:1])[0].err; err != nil {
		t.Errorf("Redis has room again: %v", err)
	}
}

// Somebody else may empty the script cache at any time.
func TestRedisScriptFlush(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	expire := time.Now().Add(time.Hour).Unix()
	last := int64(0)
	for range 3 {
		got := s.Save(t.Context(), []item{{key: "k", msg: message(`1`, expire, "")}, {key: "k", msg: message(`2`, expire, "")}})
		for _, g := range got {
			if g.err != nil || g.prev != last {
				t.Fatalf("got %+v after %d", g, last)
			}
			last = g.mid
		}
		do(t, admin, "SCRIPT", "FLUSH")
		if n := openAndCheck(t, s, "k"); n == 0 {
			t.Error("nothing read")
		}
		do(t, admin, "SCRIPT", "FLUSH")
	}
}

func TestRedisPing(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	ping := func(o redisOptions) error {
		s := openRedis(o)
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return s.Ping(ctx)
	}
	o := testRedis(server.Addr(), time.Now)
	if err := ping(o); err != nil {
		t.Errorf("healthy: %v", err)
	}
	do(t, admin, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	if err := ping(o); !errors.Is(err, errSetup) || !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("evicting: %v", err)
	}
	o.AllowEviction = true
	if err := ping(o); err != nil {
		t.Errorf("evicting, allowed: %v", err)
	}
	o.Address = testenv.FreeAddr(t)
	if err := ping(o); !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), o.Address) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestRedisPassword(t *testing.T) {
	dir := t.TempDir()
	server := testenv.Redis(t, "--requirepass", "s3cret#1", "--unixsocket", dir+"/r.sock")
	for _, test := range []struct {
		name, network, address, password, want string
	}{
		{"right", "tcp", server.Addr(), "s3cret#1", ""},
		{"right, unix socket", "unix", dir + "/r.sock", "s3cret#1", ""},
		{"wrong", "tcp", server.Addr(), "hunter2", "WRONGPASS"},
		{"none", "tcp", server.Addr(), "", "NOAUTH"},
		{"no such socket", "unix", dir + "/other.sock", "", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testRedis(test.address, time.Now)
			o.Network, o.Password = test.network, config.NewSecret([]byte(test.password))
			s := openRedis(o)
			defer s.Close()
			for what, err := range map[string]error{
				"Ping": s.Ping(t.Context()),
				"Save": s.Save(t.Context(), []item{{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}})[0].err,
			} {
				switch {
				case test.want == "" && err != nil:
					t.Errorf("%s: %v", what, err)
				case what == "Save" && test.want != "" && err == nil, // Redis may just hang up on it
					what == "Ping" && test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
					t.Errorf("%s: %v, want %s", what, err, test.want)
				case err != nil && test.password != "" && strings.Contains(err.Error(), test.password):
					t.Errorf("%s: the error shows the password: %v", what, err)
				}
			}
		})
	}
}

// A connection serves many calls, long after the deadline of the last one, and
// is not used again once Redis has closed it.
func TestRedisKeepsConnections(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	read := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r := s.Read(ctx, []query{{key: "k", limit: 1}})[0]; r.err != nil {
			t.Fatal(r.err)
		}
		<-ctx.Done() // the next call comes after this one's deadline
	}
	received := func() string {
		t.Helper()
		info, err := redis.String(admin.Do("INFO", "stats"))
		if err != nil {
			t.Fatal(err)
		}
		_, n, _ := strings.Cut(info, "total_connections_received:")
		n, _, _ = strings.Cut(n, "\r")
		return n
	}
	read()
	before := received()
	for range 3 {
		read()
	}
	same(t, "connections", received(), before)
	do(t, admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	read()
	if received() == before {
		t.Error("a connection that Redis had closed was used again")
	}
}

func TestRedisHung(t *testing.T) {
	server := testenv.Redis(t)
	o := testRedis(server.Addr(), time.Now)
	o.Active, o.Idle = 2, 2
	s := openRedis(o)
	defer s.Close()
	testHung(t, s, server.Process)
}

func TestRedisKilledInMidSave(t *testing.T) {
	server := testenv.Redis(t)
	o := testRedis(server.Addr(), time.Now)
	o.Newest = 1 << 20
	s := openRedis(o)
	defer s.Close()
	testKilledInMidSave(t, s, server.Process)
}

func TestRedisLargeBatch(t *testing.T) {
	s := openRedis(testRedis(testenv.Redis(t).Addr(), time.Now))
	defer s.Close()
	testLargeBatch(t, s, redisBatch)
}

func TestRedisTwoDaemons(t *testing.T) {
	server := testenv.Redis(t)
	testTwoDaemons(t, func(now func() time.Time) store { return openRedis(testRedis(server.Addr(), now)) })
}
