package message

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/testenv"
)

// pingFor returns what a ping says, asked for until it is what it should be.
func pingFor(t *testing.T, s store, what string, good func(error) bool) {
	t.Helper()
	testenv.Eventually(t, 20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), shardPing)
		defer cancel()
		if err := s.Ping(ctx); !good(err) {
			return fmt.Errorf("%s: Ping: %v", what, err)
		}
		return nil
	})
}

func isNil(err error) bool     { return err == nil }
func noReplica(err error) bool { return errors.Is(err, errNoReplica) }
func notMaster(err error) bool { return errors.Is(err, errNotMaster) && errors.Is(err, errUnavailable) }

// Settings with which Redis answers before its disk has a message are refused,
// by their names and with what to do.
func TestRedisFsync(t *testing.T) {
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	o := testRedis(server.Addr(), time.Now)
	o.Durability = Fsync
	s := openRedis(o)
	defer s.Close()
	if err := s.Ping(t.Context()); err != nil {
		t.Fatalf("as it should be: %v", err)
	}
	for _, test := range []struct{ key, bad, good string }{
		{"appendfsync", "everysec", "always"},
		{"appendfsync", "no", "always"},
		{"no-appendfsync-on-rewrite", "yes", "no"},
		{"appendonly", "no", "yes"},
	} {
		do(t, admin, "CONFIG", "SET", test.key, test.bad)
		err := s.Ping(t.Context())
		if !errors.Is(err, errSetup) || errors.Is(err, errUnavailable) {
			t.Errorf("%s %s: %v, want errSetup", test.key, test.bad, err)
			continue
		}
		for _, want := range []string{server.Addr(), test.key, fmt.Sprintf("%q", test.bad), "set it to " + test.good} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, which lacks %s", test.key, test.bad, err, want)
			}
		}
		o := o
		o.Durability = Memory
		plain := openRedis(o)
		if err := plain.Ping(t.Context()); err != nil {
			t.Errorf("%s %s, of no concern: %v", test.key, test.bad, err)
		}
		plain.Close()
		do(t, admin, "CONFIG", "SET", test.key, test.good)
	}

	for name, args := range map[string][]string{
		"renamed":   {"--rename-command", "CONFIG", ""},
		"forbidden": {"--user", "default", "on", "nopass", "~*", "&*", "+@all", "-config"},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.Address = testenv.Redis(t, args...).Addr()
			s := openRedis(o)
			defer s.Close()
			if err := s.Ping(t.Context()); !errors.Is(err, errSetup) || !strings.Contains(err.Error(), `redis.durability to "memory"`) {
				t.Errorf("Ping: %v, want errSetup with what to do", err)
			}
		})
	}
}

// A daemon does not start on a Redis that keeps less than it is told to.
func TestRefusesWhatIsNotSynced(t *testing.T) {
	r := testenv.Redis(t, "--appendfsync", "everysec")
	cfg := redisConfig(t, r.Addr())
	cfg.Redis.Durability = Fsync
	s, err := New(cfg, Deps{Member: newMember()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(within(t, 20*time.Second)); !errors.Is(err, errSetup) || !strings.Contains(err.Error(), "appendfsync") {
		t.Errorf("Run: %v, want an error that names the setting", err)
	}
}

// A daemon that promises a replica waits for it, and says so.
func TestWaitsForAReplica(t *testing.T) {
	r := testenv.Redis(t)
	cfg := redisConfig(t, r.Addr())
	cfg.Redis.Durability = Replica
	d := start(t, cfg)
	testenv.Eventually(t, 10*time.Second, func() error {
		if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "replica") {
			return fmt.Errorf("Ready: %v", err)
		}
		return nil
	})
	same(t, "membership", d.member.Name(), "")
	r.Replica()
	d.ready(t)
}

// With a replica the store is what it is without.
func TestRedisStoreReplicated(t *testing.T) {
	server := testenv.Redis(t)
	server.Replica()
	testStore(t, func(t *testing.T, c *clock) *fixture {
		admin := dialRedis(t, server.Addr())
		o := testRedis(server.Addr(), c.now)
		o.Durability = Replica
		f := &fixture{store: openRedis(o)}
		pingFor(t, f.store, "at first", isNil)
		f.old = func(key, score, member string) {
			do(t, admin, "ZADD", DefaultRedisPrefix+key, score, member)
		}
		f.reopen = func() store {
			server.Kill()
			server.Start()
			pingFor(t, f.store, "after a restart", isNil)
			return f.store
		}
		return f
	})
}

// What the replica does not have is not said to be stored, nor when it is saved
// again: the first time has left it on the master alone.
func TestRedisWithoutItsReplica(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	admin := dialRedis(t, server.Addr())
	replica := server.Replica()
	o := testRedis(server.Addr(), time.Now)
	o.Durability = Replica
	s := openRedis(o)
	defer s.Close()
	pingFor(t, s, "at first", isNil)
	expire := time.Now().Add(time.Hour).Unix()
	for _, way := range []struct {
		name          string
		lose, restore func()
	}{
		{"frozen", replica.Pause, replica.Resume},
		{"killed", replica.Kill, replica.Start},
		{"killed, and Redis refuses to write", func() {
			replica.Kill()
			do(t, admin, "CONFIG", "SET", "min-replicas-to-write", 1)
		}, func() {
			do(t, admin, "CONFIG", "SET", "min-replicas-to-write", 0)
			replica.Start()
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			f := &fixture{store: s}
			key := way.name
			before := item{key: key, msg: message(`"before"`, expire, "b")}
			first := f.save1(t, before)
			way.lose()
			const budget = 700 * time.Millisecond
			within := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), budget)
				t.Cleanup(cancel)
				return ctx
			}
			it := item{key: key, msg: message(`"during"`, expire, "n")}
			put := item{key: key, msg: message(`"put"`, expire, "")}
			put.msg.Mid = 80
			for try := range 2 {
				if err := s.Save(within(), []item{it})[0].err; !errors.Is(err, errUnavailable) {
					t.Errorf("save, try %d: %v, want errUnavailable", try, err)
				}
				if err := s.Put(within(), []item{put})[0]; !errors.Is(err, errUnavailable) {
					t.Errorf("put, try %d: %v, want errUnavailable", try, err)
				}
				if err := s.Delete(within(), key+"2"); !errors.Is(err, errUnavailable) {
					t.Errorf("delete, try %d: %v, want errUnavailable", try, err)
				}
				if err := s.AddToken(within(), newToken(nil, key, "a", 0, time.Now())); !errors.Is(err, errUnavailable) {
					t.Errorf("token, try %d: %v, want errUnavailable", try, err)
				}
				it.retry = true
			}
			pingFor(t, s, "without it", noReplica)
			if got := s.Read(within(), []query{{key: key, limit: 9}})[0]; got.err != nil {
				t.Errorf("read: %v", got.err)
			}
			way.restore()
			pingFor(t, s, "with it again", isNil)
			again := f.save1(t, it)
			if again.mid <= first.mid {
				t.Errorf("saved again: %+v, want a mid above %d", again, first.mid)
			}
			if err := s.Put(t.Context(), []item{put})[0]; err != nil {
				t.Errorf("put again: %v", err)
			}
			if got := bodies(f.read(t, key, 0).msgs); !slices.Equal(got, []string{`"put"`, `"before"`, `"during"`}) {
				t.Errorf("kept: %v", got)
			}
		})
	}
}

// A Redis that is full takes nothing more, can be read, and makes room when
// messages are deleted.
func TestRedisFull(t *testing.T) {
	for _, durability := range []string{Memory, Replica} {
		t.Run(durability, func(t *testing.T) {
			server := testenv.Redis(t)
			if durability == Replica {
				server.Replica()
			}
			admin := dialRedis(t, server.Addr())
			o := testRedis(server.Addr(), time.Now)
			o.Durability = durability
			f := &fixture{store: openRedis(o)}
			defer f.Close()
			pingFor(t, f.store, "at first", isNil)
			it := item{key: "k", msg: message(`1`, time.Now().Add(time.Hour).Unix(), "")}
			f.save1(t, it)
			other := it
			other.key = "other"
			last := f.save1(t, other).mid
			if err := f.AddToken(t.Context(), newToken(nil, "k", "a", 0, time.Now())); err != nil {
				t.Fatal(err)
			}
			do(t, admin, "CONFIG", "SET", "maxmemory", "1")
			for what, err := range map[string]error{
				"one": f.Save(t.Context(), []item{it})[0].err, "two": f.Save(t.Context(), []item{it, it})[1].err,
			} {
				if err == nil || errors.Is(err, errUnavailable) {
					t.Errorf("Save of %s: %v, want Redis' refusal", what, err)
				}
			}
			if err := f.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			for _, r := range f.Read(t.Context(), []query{{"k", 0, 9}, {"other", 0, 9}}) {
				if r.err != nil || len(r.msgs) != 1 {
					t.Errorf("Read: %+v", r)
				}
			}
			if r, err := f.CheckToken(t.Context(), "k", hashToken(nil, "k", "a")); err != nil || r.State != peer.TokenLive {
				t.Errorf("CheckToken: %+v, %v", r, err)
			}
			// Where a replica is to have it, one cannot be sure that it does.
			if err := f.Delete(t.Context(), "other"); (err != nil) != (durability == Replica) {
				t.Errorf("Delete: %v", err)
			}
			if r := f.read(t, "other", 0); len(r.msgs) != 0 || r.last != last {
				t.Errorf("deleted: %+v, want last %d", r, last)
			}
			do(t, admin, "CONFIG", "SET", "maxmemory", "0")
			f.save1(t, it)
		})
	}
}

// A Redis that became a replica is no place to write to, whoever is connected.
func TestRedisDemoted(t *testing.T) {
	server, other := testenv.Redis(t), testenv.Redis(t)
	s := openRedis(testRedis(server.Addr(), time.Now))
	defer s.Close()
	it := item{key: "k", msg: message(`1`, time.Now().Add(time.Hour).Unix(), "")}
	(&fixture{store: s}).save1(t, it)
	host, port, _ := strings.Cut(other.Addr(), ":")
	do(t, dialRedis(t, server.Addr()), "REPLICAOF", host, port)
	if err := s.Save(t.Context(), []item{it})[0].err; !notMaster(err) {
		t.Errorf("Save: %v, want errNotMaster", err)
	}
	pingFor(t, s, "demoted", notMaster)
	do(t, dialRedis(t, server.Addr()), "REPLICAOF", "NO", "ONE")
	pingFor(t, s, "promoted", isNil)
	(&fixture{store: s}).save1(t, it)
}
