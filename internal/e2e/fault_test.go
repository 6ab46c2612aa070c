package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/testenv"
)

const (
	internalError = 65535
	maxStore      = 1000 // the most that storage.store allows
)

// shardOf returns which Redis holds the messages of key, of which there must be
// some.
func (c *cluster) shardOf(key string) int {
	c.t.Helper()
	at := -1
	for i, r := range c.redis {
		conn, err := redis.Dial("tcp", r.Addr())
		if err != nil {
			c.t.Fatal(err)
		}
		n, err := redis.Int(conn.Do("EXISTS", "gopush:m:"+key))
		conn.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		if n == 1 {
			if at >= 0 {
				c.t.Fatalf("%s lies on two shards", key)
			}
			at = i
		}
	}
	if at < 0 {
		c.t.Fatalf("%s lies on no shard", key)
	}
	return at
}

// timed is how many of something there were, and how long the slowest took. It is
// owned by one goroutine.
type timed struct {
	n       int
	slowest time.Duration
}

func (w *timed) do(f func()) {
	began := time.Now()
	f()
	w.n, w.slowest = w.n+1, max(w.slowest, time.Since(began))
}

func (w timed) String() string {
	return fmt.Sprintf("%d, the slowest %v", w.n, w.slowest.Round(time.Millisecond))
}

// TestRedisHangs freezes one of two Redis servers. Its own keys fail in time;
// nobody else notices: not the heartbeats and connects of its keys, nor what is
// pushed to who is online of them, nor the other server's keys. Everything
// acknowledged is there afterwards. REDIS_DOWN asks for more seconds than 5.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	c := start(t, options{redis: 2, messages: 2, message: settings{"storage.store": maxStore}})
	book := newLedger()
	keys := make([][]string, 2) // by shard
	for i := 0; len(keys[0]) < 5 || len(keys[1]) < 5; i++ {
		key := fmt.Sprintf("hang-%d", i)
		if ret, err := c.try(book, c.webs[0], key, `"before"`); ret != 0 || err != nil {
			t.Fatalf("push: ret %d, %v", ret, err)
		}
		s := c.shardOf(key)
		keys[s] = append(keys[s], key)
	}
	hung, fine := keys[0][:5], keys[1][:5]

	idle := c.subscribe(hung[0], "", "1.0") // none of its saves will be under way
	busy := c.subscribe(fine[0], "", "1.0")
	for key, cl := range map[string]*tcpClient{hung[0]: idle, fine[0]: busy} {
		if ret, err := c.push(c.webs[0], key, 0, `"base"`); ret != 0 || err != nil {
			t.Fatalf("push: ret %d, %v", ret, err)
		}
		if m := cl.message(); m.msg != `"base"` {
			t.Fatalf("%s: %v", key, m)
		}
	}
	down := time.Duration(number(t, "REDIS_DOWN", 5)) * time.Second
	c.redis[0].Pause()
	end := time.Now().Add(down)

	var side sync.WaitGroup
	var own, many timed
	side.Go(func() { // the keys of the hung shard
		for i := 0; time.Now().Before(end); i++ {
			own.do(func() {
				ret, err := c.try(book, c.webs[0], hung[1], fmt.Sprintf(`"hung %d"`, i))
				if ret != internalError || err != nil {
					t.Errorf("push to the hung shard: ret %d, %v, want %d", ret, err, internalError)
				}
			})
			time.Sleep(50 * time.Millisecond)
		}
	})
	side.Go(func() { // those of both
		all := slices.Concat(hung[1:], fine[1:])
		want := slices.Sorted(slices.Values(hung[1:]))
		for i := 0; time.Now().Before(end); i++ {
			many.do(func() {
				body := fmt.Sprintf(`"many %d"`, i)
				ret, failed, err := c.pushMany(c.webs[0], all, 600, body)
				for _, key := range all {
					book.note(key, body, !slices.Contains(failed, key))
				}
				slices.Sort(failed)
				if ret != 0 || err != nil || !slices.Equal(failed, want) {
					t.Errorf("mprivate: ret %d, fk %q, %v, want %q", ret, failed, err, want)
				}
			})
			time.Sleep(200 * time.Millisecond)
		}
	})
	var stored, online, beats, connects, fetches timed
	var late []*tcpClient                     // who has connected to the hung shard, and stays
	for i := 0; time.Now().Before(end); i++ { // everybody else, meanwhile
		body := fmt.Sprintf(`"fine %d"`, i)
		stored.do(func() {
			if ret, err := c.try(book, c.webs[0], fine[0], body); ret != 0 || err != nil {
				t.Errorf("push to the other shard: ret %d, %v", ret, err)
			}
			if m := busy.message(); m.msg != body {
				t.Fatalf("live %v, want %s", m, body)
			}
		})
		online.do(func() {
			if ret, err := c.push(c.webs[0], hung[0], 0, body); ret != 0 || err != nil {
				t.Errorf("push to who is online on the hung shard: ret %d, %v", ret, err)
			}
			if m := idle.message(); m.msg != body {
				t.Fatalf("live %v, want %s", m, body)
			}
		})
		beats.do(idle.beat)
		beats.do(busy.beat)
		var cl *tcpClient
		connects.do(func() { cl = c.subscribe(hung[2], "", "1.0") })
		if beats.do(cl.beat); len(late) < 3 {
			late = append(late, cl)
		} else {
			cl.close()
		}
		fetches.do(func() {
			if m := c.mustFetch(fine[0], 0); len(m) == 0 {
				t.Error("the other shard's messages are gone")
			}
		})
		time.Sleep(20 * time.Millisecond)
	}
	side.Wait()
	for what, w := range map[string]timed{"a push to a hung key": own, "mprivate to keys of both": many} {
		if w.slowest > 3*time.Second {
			t.Errorf("%s took %v, want 2s", what, w.slowest)
		}
	}
	t.Logf("one of two Redis servers hung for %v. Of its keys: pushes failed: %v; pushes to who is online: %v; connects: %v; "+
		"heartbeats of both: %v. Of the other's: pushes stored: %v; fetches: %v. mprivate to both: %v",
		down, own, online, connects, beats, stored, fetches, many)
	if r := get(t, c.webs[0].web, "/1/msg/get?m=0&k="+hung[0]); r.body != `{"ret":65535}` {
		t.Errorf("fetch from the hung shard: %q, want ret 65535", r.body)
	}

	c.redis[0].Resume()
	for _, key := range []string{hung[0], hung[2]} {
		n := 0
		testenv.Eventually(t, 15*time.Second, func() error {
			n++
			ret, err := c.try(book, c.webs[0], key, fmt.Sprintf(`"after %d"`, n))
			if ret != 0 || err != nil {
				return fmt.Errorf("push after the hang: ret %d, %v", ret, err)
			}
			return nil
		})
		last := fmt.Sprintf(`"after %d"`, n)
		clients := late
		if key == hung[0] {
			clients = []*tcpClient{idle}
		}
		for _, cl := range clients { // what failed may show up before it, once (I7)
			for m := cl.message(); m.msg != last; m = cl.message() {
			}
			cl.beat()
		}
	}
	book.check(c)
}

// TestRedisDies kills a Redis and starts it again with its data.
func TestRedisDies(t *testing.T) {
	t.Parallel()
	c := start(t, options{message: settings{"storage.store": maxStore}})
	book := newLedger()
	cl := c.subscribe("dies", "", "1.0")
	for i := range 10 {
		if ret, err := c.try(book, c.webs[0], "dies", fmt.Sprint(i)); ret != 0 || err != nil {
			t.Fatalf("push: ret %d, %v", ret, err)
		}
		cl.message()
	}
	c.redis[0].Kill()
	if ret, err := c.try(book, c.webs[0], "dies", `"dead"`); ret != internalError || err != nil {
		t.Errorf("push: ret %d, %v, want %d", ret, err, internalError)
	}
	cl.beat()
	c.redis[0].Start()
	n := 0
	testenv.Eventually(t, 15*time.Second, func() error {
		n++
		ret, err := c.try(book, c.webs[0], "dies", fmt.Sprintf(`"back %d"`, n))
		if ret != 0 || err != nil {
			return fmt.Errorf("ret %d, %v", ret, err)
		}
		return nil
	})
	book.check(c)
}

// TestMessageDies kills one of two message daemons under load.
func TestMessageDies(t *testing.T) {
	t.Parallel()
	c := start(t, options{messages: 2, message: settings{"storage.store": maxStore}})
	book := newLedger()
	stop := c.load(book, "load")
	time.Sleep(500 * time.Millisecond) // of load
	c.messages[0].Kill()
	c.longRun(book) // it is left out
	c.messages[0].Start()
	c.messages[1].Kill() // now all depends on the one that came back
	testenv.Eventually(t, 15*time.Second, func() error {
		for i := range 20 {
			if ret, err := c.push(c.webs[0], "return", 600, fmt.Sprint(i)); ret != 0 || err != nil {
				return fmt.Errorf("push %d: ret %d, %v", i, ret, err)
			}
		}
		return nil
	})
	stop()
	if len(book.acked) < 18 {
		t.Errorf("%d keys had an acknowledged push, want 18", len(book.acked))
	}
	book.check(c)
}

// TestCometDies kills a comet under load: pushes with an expiry are stored by
// web itself, and are there when it comes back.
func TestCometDies(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, message: settings{"storage.store": maxStore}})
	book := newLedger()
	dead, alive := c.keyOf(c.comets[0], "dead"), c.keyOf(c.comets[1], "alive")
	lost, kept := c.subscribe(dead, "", "1.0"), c.subscribe(alive, "", "1.0")
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for i := range maxStore - 50 { // so that none is pushed out
			select {
			case <-stop:
				return
			default:
			}
			_, _ = c.try(book, c.webs[0], dead, fmt.Sprintf(`"load %d"`, i)) // noted
		}
	})
	time.Sleep(300 * time.Millisecond) // of load
	c.comets[0].Kill()
	for i := range 20 {
		if ret, err := c.try(book, c.webs[0], dead, fmt.Sprintf(`"direct %d"`, i)); ret != 0 || err != nil {
			t.Errorf("push to a key of the dead comet: ret %d, %v", ret, err)
		}
		body := fmt.Sprint(i)
		if ret, err := c.try(book, c.webs[0], alive, body); ret != 0 || err != nil {
			t.Errorf("push to a key of the other comet: ret %d, %v", ret, err)
		}
		if m := kept.message(); m.msg != body {
			t.Fatalf("live %v, want %s", m, body)
		}
		kept.beat()
	}
	close(stop)
	load.Wait()
	book.check(c)
	// What reached the socket before the end is among what is kept.
	stored := c.mustFetch(dead, 0)
	for {
		body, err := lost.read(patience)
		if err != nil {
			break // the end, or the middle of a message
		}
		m, err := parseMessage(body)
		if err != nil || !slices.Contains(stored, m) {
			t.Errorf("the socket saw %v, %v, which is not kept", m, err)
		}
	}

	c.comets[0].Start()
	testenv.Eventually(t, 15*time.Second, c.agree)
	cl := c.subscribe(dead, "", "1.0")
	if ret, err := c.try(book, c.webs[0], dead, `"back"`); ret != 0 || err != nil {
		t.Errorf("push: ret %d, %v", ret, err)
	}
	if m := cl.message(); m.msg != `"back"` || m.mid <= stored[len(stored)-1].mid {
		t.Errorf("live %v after %v", m, stored[len(stored)-1])
	}
	book.check(c)
}

// TestWebsDown proves that comets need no web: clients connect and stay, and a
// push by RPC reaches them.
func TestWebsDown(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}})
	key := c.keyOf(c.comets[0], "webless")
	cl := c.subscribe(key, "", "1.0")
	c.webs[0].Kill()
	cl.beat()
	if reply, err := knock(c.comets[0].tcp, key); reply != "+h\r\n" {
		t.Errorf("sub without a web: %q, %v", reply, err)
	}
	if reply, err := knock(c.comets[1].tcp, key); reply != "-n\r\n" {
		t.Errorf("sub at the other comet: %q, %v", reply, err)
	}
	rpc := dialRPC(t, c.comets[0].rpc)
	call[int](t, rpc, "CometRPC.PushPrivate", &cometPushPrivateArgs{Key: key, Msg: []byte(`"rpc"`), Expire: 600})
	if m := cl.message(); m.msg != `"rpc"` {
		t.Errorf("live %v", m)
	}
	// A comet that starts without any web learns the ring from ZooKeeper.
	c.comets[1].Kill()
	c.comets[1].Start()
	testenv.Eventually(t, 15*time.Second, func() error {
		reply, err := knock(c.comets[1].tcp, key)
		if err == nil && reply != "-n\r\n" {
			err = fmt.Errorf("the other comet answers %q", reply)
		}
		return err
	})
	cl.beat()
}
