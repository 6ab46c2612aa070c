package message

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/testenv"
)

// fakeSentinel answers as a sentinel that knows one master. A zero epoch: it
// knows none; below zero: it hangs.
func fakeSentinel(t *testing.T, at string, epoch int) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	done := make(chan struct{})
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					switch {
					case err != nil:
						return
					case !strings.HasPrefix(line, "$") && strings.HasPrefix(strings.ToUpper(line), "MASTER"):
						if epoch > 0 {
							fmt.Fprintf(c, "*4\r\n$4\r\nname\r\n$1\r\nx\r\n$12\r\nconfig-epoch\r\n$%d\r\n%d\r\n", len(fmt.Sprint(epoch)), epoch)
						} else if epoch == 0 {
							fmt.Fprint(c, "-ERR No such master with that name\r\n")
						} else {
							<-done
							return
						}
					case strings.HasPrefix(strings.ToUpper(line), "GET-MASTER"):
						host, port, _ := net.SplitHostPort(at)
						fmt.Fprintf(c, "*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(host), host, len(port), port)
					}
				}
			})
		}
	})
	t.Cleanup(func() { close(done); l.Close(); conns.Wait() })
	return l.Addr().String()
}

// Of several answers the newest counts, and those who do not answer hold up
// nobody while more than half of them do.
func TestSentinelsAreAsked(t *testing.T) {
	type s struct {
		at    string
		epoch int
	}
	for _, test := range []struct {
		name  string
		say   []s
		want  string // or what the error says
		hangs bool   // it takes as long as sentinels may
	}{
		{"one", []s{{"10.0.0.1:1", 1}}, "10.0.0.1:1", false},
		{"IPv6", []s{{"[fd00::1]:1", 1}}, "[fd00::1]:1", false},
		{"one of old times", []s{{"10.0.0.1:1", 3}, {"10.0.0.2:1", 4}, {"", 0}}, "10.0.0.2:1", false},
		{"one hangs", []s{{"", -1}, {"10.0.0.2:1", 4}, {"10.0.0.2:1", 4}}, "10.0.0.2:1", false},
		{"two hang", []s{{"", -1}, {"10.0.0.2:1", 4}, {"", -1}}, "10.0.0.2:1", true},
		{"all know nothing", []s{{"", 0}, {"", 0}}, `no sentinel names a master "mymaster"`, false},
		{"all hang", []s{{"", -1}}, `no sentinel names a master "mymaster"`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMaster("", config.Secret{})
			m.name, m.sentinels = "mymaster", nil
			for _, s := range test.say {
				m.sentinels = append(m.sentinels, fakeSentinel(t, s.at, s.epoch))
			}
			began := time.Now()
			got, err := m.ask(t.Context())
			if got != test.want && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%q, %v; want %s", got, err, test.want)
			}
			if took := time.Since(began); test.hangs && took < sentinelTime {
				t.Errorf("took %v", took)
			}
			if err != nil && !strings.Contains(err.Error(), m.sentinels[0]) {
				t.Errorf("%v, which does not name the sentinel", err)
			}
		})
	}
}

// What is known is enough while no sentinel answers, and a failed dial has them
// asked again.
func TestMasterWithoutSentinels(t *testing.T) {
	server := testenv.Redis(t)
	replica := server.Replica()
	old := testenv.FreeAddr(t) // nobody is there any more
	m := newMaster("", config.Secret{})
	m.name = "mymaster"
	m.sentinels = []string{fakeSentinel(t, old, 1)}
	if _, err := m.dial(t.Context()); err == nil || !m.is(old) {
		t.Fatalf("dial: %v, is at %v", err, m)
	}
	m.sentinels = []string{fakeSentinel(t, replica.Addr(), 2)}
	if _, err := m.dial(t.Context()); !errors.Is(err, errNotMaster) {
		t.Errorf("dial of a replica: %v, want errNotMaster", err)
	}
	m.sentinels = []string{fakeSentinel(t, server.Addr(), 3)}
	c, err := m.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	m.sentinels = []string{testenv.FreeAddr(t)}
	m.doubt()
	if c, err = m.dial(t.Context()); err != nil {
		t.Fatalf("without sentinels: %v", err)
	}
	c.Close()
}

// Sentinels may want the password, too.
func TestSentinelPassword(t *testing.T) {
	for _, locked := range []bool{false, true} {
		server := testenv.Redis(t, "--requirepass", "s3cret")
		sentinel := testenv.Sentinels(t, server, 1, 0)[0]
		if locked {
			do(t, dialRedis(t, sentinel.Addr()), "ACL", "SETUSER", "default", "resetpass", ">s3cret")
		}
		for password, good := range map[string]bool{"s3cret": true, "other": false, "": false} {
			o := testRedis(sentinel.Addr()+"/mymaster", time.Now)
			o.Network = sentinelNetwork
			if password != "" {
				o.Password = config.NewSecret([]byte(password))
			}
			s := openRedis(o)
			err := s.Ping(t.Context())
			if (err == nil) != good || err != nil && password != "" && strings.Contains(err.Error(), password) {
				t.Errorf("sentinel locked %t, password %q: %v", locked, password, err)
			}
			s.Close()
		}
	}
}

// A master that is killed, and one that freezes and wakes up again as if nothing
// had happened: another takes its place, and what was acknowledged is there. The
// other shard notices nothing.
func TestFailover(t *testing.T) {
	t.Parallel()
	first, other := testenv.Redis(t), testenv.Redis(t)
	second := first.Replica()
	var sentinels []string
	for _, s := range testenv.Sentinels(t, first, 3, 1) {
		sentinels = append(sentinels, s.Addr())
	}
	cfg := redisConfig(t, "", other.Addr())
	cfg.Redis.Durability = Memory // of the other shard
	cfg.Redis.Source["node1:1"] = Source{Network: sentinelNetwork, Address: strings.Join(sentinels, ",") + "/" + testenv.MasterName}
	cfg.Storage.Store = 1000
	cfg.Redis.Durability = Replica
	other.Replica()
	d := start(t, cfg).ready(t)
	c := d.client(t)
	keys := keysOf(d.shards, 4)

	type push struct {
		key, nonce string
		mid        int64
	}
	var mu sync.Mutex
	var acked []push
	failed := make(map[string]int) // by shard
	ctx, stop := context.WithCancel(t.Context())
	var pushers sync.WaitGroup
	for shard, keys := range keys {
		for i, key := range keys {
			pushers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					nonce := fmt.Sprintf("%d-%d", i, n)
					args := peer.SaveArgs{Bodies: []json.RawMessage{json.RawMessage(`"` + nonce + `"`)}, Items: []peer.SaveItem{{
						Key: key, ExpireAt: time.Now().Unix() + 3600, Nonce: nonce, Floor: mid.Unknown,
					}}}
					call, cancel := context.WithTimeout(context.Background(), 2*time.Second)
					began := time.Now()
					r, err := c.Save(call, args)
					took := time.Since(began)
					cancel()
					mu.Lock()
					if err == nil && r.Results[0].Code == peer.OK {
						acked = append(acked, push{key, nonce, r.Results[0].Mid})
					} else {
						failed[shard]++
					}
					mu.Unlock()
					if took > 10*time.Second { // its time was 2s
						t.Errorf("a save took %v", took)
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
	}
	// goesOn waits until every key of the shard was saved many times more.
	goesOn := func(when string) {
		t.Helper()
		mu.Lock()
		from := len(acked)
		mu.Unlock()
		testenv.Eventually(t, 60*time.Second, func() error {
			mu.Lock()
			defer mu.Unlock()
			for _, key := range keys["node1"] {
				n := 0
				for _, p := range acked[from:] {
					if p.key == key {
						n++
					}
				}
				if n < 30 {
					return fmt.Errorf("%s: %d saves of %s", when, n, key)
				}
			}
			return nil
		})
	}
	at := func(want *testenv.RedisServer) {
		t.Helper()
		testenv.Eventually(t, 30*time.Second, func() error {
			if m := d.shards.byName["node1"].store.(*redisStore).master; !m.is(want.Addr()) {
				return fmt.Errorf("the master is %v, want %s", m, want.Addr())
			}
			return nil
		})
	}
	goesOn("at first")
	at(first)

	first.Kill()
	at(second)
	first.Start()
	goesOn("after a kill")

	second.Pause()
	at(first)
	second.Resume()
	goesOn("after a freeze")

	do(t, dialRedis(t, sentinels[0]), "SENTINEL", "FAILOVER", testenv.MasterName)
	at(second)
	goesOn("after a failover on purpose")
	stop()
	pushers.Wait()

	if failed["node1"] == 0 {
		t.Error("no save of the shard failed: there was no failover")
	}
	if n := failed["node2"]; n > 0 {
		t.Errorf("%d saves of the other shard failed", n)
	}
	for shard, keys := range keys {
		n := 0
		for _, key := range keys {
			found := d.shards.byName[shard].store.Read(t.Context(), []query{{key: key, limit: 1 << 20}})[0]
			if found.err != nil {
				t.Fatal(found.err)
			}
			kept := make(map[string]int64)
			for _, m := range found.msgs {
				if kept[m.Nonce] != 0 {
					t.Errorf("%s: %s is kept twice", key, m.Nonce)
				}
				kept[m.Nonce] = m.Mid
			}
			for _, p := range acked {
				if p.key == key && p.mid > found.trimmed {
					n++
					if kept[p.nonce] != p.mid {
						t.Errorf("%s: %s was acknowledged with mid %d, kept is %d", key, p.nonce, p.mid, kept[p.nonce])
					}
				}
			}
		}
		t.Logf("%s: %d acknowledged saves kept, %d failed", shard, n, failed[shard])
	}
}
