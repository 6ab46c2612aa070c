package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// resumer is a subscribed client that gave a mid.
type resumer interface {
	reader
	body() string
	beat()
	wantSilence(time.Duration)
}

// resumers are the ways to resume.
var resumers = []struct {
	name   string
	old    bool
	resume func(c *cluster, key string, mid int64) resumer
}{
	{"tcp new", false, func(c *cluster, key string, mid int64) resumer { return c.resume(key, mid) }},
	{"tcp old", true, func(c *cluster, key string, mid int64) resumer { return c.subscribe(key, "", "", fmt.Sprint(mid)) }},
	{"websocket new", false, func(c *cluster, key string, mid int64) resumer {
		return c.subscribeWS(key, fmt.Sprint("&ver=1.0&mid=", mid))
	}},
	{"websocket old", true, func(c *cluster, key string, mid int64) resumer { return c.subscribeWS(key, fmt.Sprint("&mid=", mid)) }},
}

// resume connects to the key's comet as a client that has seen mid, and wants to
// be accepted.
func (c *cluster) resume(key string, mid int64) *tcpClient {
	c.t.Helper()
	return c.subscribe(key, "", "1.0", fmt.Sprint(mid))
}

// wantThese reads these messages, each in the form of its client.
func wantThese(t *testing.T, cl resumer, want []message, old bool) {
	t.Helper()
	for _, m := range want {
		text := m.msg
		if old {
			text = oldForm(text)
		}
		if got, want := cl.body(), fmt.Sprintf(`{"msg":%s,"mid":%d,"gid":0}`, text, m.mid); got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
}

// testResume proves docs/protocol.md, "Resume": what is stored above the mid,
// and then what comes.
func testResume(t *testing.T, c *cluster) {
	const key = "resumes"
	for i := range 6 {
		c.mustPush(key, fmt.Sprintf(`{"n":"%d <%s>"}`, i, payloadMark))
	}
	kept := c.mustFetch(key, 0)
	if len(kept) != 6 {
		t.Fatalf("kept %v, want 6", kept)
	}
	for _, tt := range []struct {
		name string
		mid  int64
	}{
		{"from the beginning", 0},
		{"from before all", 1},
		{"from the middle", kept[2].mid},
		{"from just below one", kept[2].mid - 1},
		{"from just above one", kept[2].mid + 1},
		{"from the newest", kept[5].mid},
		{"from a day ahead", kept[5].mid + 24*3600*second},
		{"from the last mid that there is", math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := c.with(t)
			var above []message
			for _, m := range kept {
				if m.mid > tt.mid {
					above = append(above, m)
				}
			}
			var clients []resumer
			for _, how := range resumers {
				cl := how.resume(c, key, tt.mid)
				clients = append(clients, cl)
				wantThese(t, cl, above, how.old)
				cl.wantSilence(20 * time.Millisecond) // +h alone, if there is nothing
				cl.beat()
			}
			c.mustPush(key, fmt.Sprintf("%q", tt.name))
			live := c.mustFetch(key, kept[len(kept)-1].mid)
			if now := time.Now().UnixNano() / 100; len(live) != 1 || live[0].mid > now+second {
				t.Fatalf("then %v is stored, want one message of now, %d", live, now)
			}
			for i, how := range resumers {
				wantThese(t, clients[i], live, how.old)
				clients[i].close()
			}
			kept = append(kept, live...)
		})
	}
}

const second = int64(time.Second / 100) // of mids

// testGap proves that messages which newer ones have pushed out are told of, and
// to whom.
func testGap(t *testing.T, c *cluster) {
	const key = "gap"
	for i := range 5 {
		c.mustPush(key, fmt.Sprint(i))
	}
	gone := c.mustFetch(key, 0)
	for i := range 20 { // storage.store
		c.mustPush(key, fmt.Sprint("1", i))
	}
	kept := c.mustFetch(key, 0)
	if len(gone) != 5 || len(kept) != 20 || kept[0].msg != "10" {
		t.Fatalf("gone %v, kept %v", gone, kept)
	}
	time.Sleep(1500 * time.Millisecond) // what has just been pushed out is told of to clients with mid 0, too
	for _, tt := range []struct {
		name string
		mid  int64
		gap  bool
	}{
		{"some are gone", gone[1].mid, true},
		{"one is gone", gone[3].mid, true},
		{"a mid between those that are gone", gone[3].mid + 1, true},
		{"nothing was seen before", 0, false},
		{"the last one that is gone was seen", gone[4].mid, false},
		{"all that are gone were seen", kept[3].mid, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := c.with(t)
			from := slices.IndexFunc(kept, func(m message) bool { return m.mid > tt.mid })
			for _, how := range resumers {
				cl := how.resume(c, key, tt.mid)
				if tt.gap {
					if got, want := cl.body(), fmt.Sprintf(`{"gap":{"from":%d,"oldest":%d},"gid":0}`, tt.mid, kept[0].mid); got != want {
						t.Errorf("read %q, want %q", got, want)
					}
				}
				wantThese(t, cl, kept[from:], how.old)
				cl.wantSilence(20 * time.Millisecond)
				cl.beat()
			}
		})
	}
	for _, cl := range []resumer{c.subscribe(key, "", "1.0"), c.subscribe(key), c.subscribeWS(key, "&ver=1.0"), c.subscribeWS(key, "")} {
		cl.wantSilence(1500 * time.Millisecond) // past legacy.hold: one that gives no mid is told nothing
	}
}

// TestResumeWhileTheStoreHangs freezes the only Redis, then one of two message
// daemons, which is killed with reads under way. Clients that resume are
// accepted, are held, answer to their heartbeats, and then get all.
func TestResumeWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	c := start(t, options{messages: 2})
	const key = "held"
	for i := range 10 {
		c.mustPush(key, fmt.Sprint(i))
	}
	kept := c.mustFetch(key, 0)
	connect := func(times int) (clients []resumer) {
		for range times {
			for _, how := range resumers {
				clients = append(clients, how.resume(c, key, kept[3].mid))
			}
		}
		return clients
	}
	getAll := func(clients []resumer) {
		t.Helper()
		for i, cl := range clients {
			wantThese(t, cl, kept[4:], resumers[i%len(resumers)].old)
			cl.wantSilence(20 * time.Millisecond)
			cl.beat()
			cl.close()
		}
	}

	c.redis[0].Pause()
	held := connect(1)
	for range 3 { // more than a read may take
		for _, cl := range held {
			cl.wantSilence(250 * time.Millisecond)
			cl.beat()
		}
	}
	c.redis[0].Resume()
	getAll(held)

	c.messages[0].Pause()
	held = connect(5)
	c.messages[0].Kill()
	getAll(held)
}

// TestResumersMissNothing has clients that resume hang up at random and come
// back, under load, while a comet is killed, one restarts in place, a third one
// takes keys over, one freezes, a Redis hangs, and a message daemon is killed.
// None misses a message, gets one twice, or gets one that does not rise.
func TestResumersMissNothing(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{
		nodes: []string{"node1", "node2", "node3"}, messages: 2, redis: 2,
		comet:   settings{"drain.keep": "1m", "migrate.rate": 10},
		message: settings{"storage.store": maxStore},
	})
	third := c.comets[2]
	c.comets = c.comets[:2]
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	const keys, clients = 6, 30
	book := newLedger()
	followers := make([]*follower, clients)
	for i := range followers {
		followers[i] = &follower{key: fmt.Sprintf("resumer-%d", i%keys), kind: []kind{resumes, resumesWS}[i/keys%2]}
	}
	c.run(followers)
	stopPushing := c.pushAll(book, followers, 50)
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // messages that are not stored
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			key, body := followers[i%keys].key, fmt.Sprintf(`"passing %d"`, i)
			book.forget(key, body)
			_, _ = c.push(c.webs[0], key, 0, body) // it reaches whom it reaches
		}
	})
	cuts := 0
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(100 * time.Millisecond)):
			}
			followers[rand.IntN(clients)].cut()
			cuts++
		}
	})
	calm := func() {
		t.Helper()
		testenv.Eventually(t, 60*time.Second, c.agree)
		time.Sleep(time.Second) // of load
	}

	calm()
	c.comets[0].Kill()
	c.comets[0].Start()
	calm()
	if code := c.comets[1].Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	c.comets[1].Start()
	calm()
	third.Start()
	c.comets = append(c.comets, third)
	calm()
	third.Pause()
	time.Sleep(3 * time.Second) // the freeze is the point
	third.Resume()
	calm()
	c.redis[0].Pause()
	time.Sleep(3 * time.Second) // here too
	c.redis[0].Resume()
	calm()
	c.messages[0].Kill()
	calm()
	c.messages[0].Start()
	calm()

	stopPushing()
	close(stop)
	others.Wait()
	c.caughtUp(book, followers)
	book.check(c)
	came, acked := 0, 0
	for _, f := range followers {
		came += f.sessions()
	}
	for _, bodies := range book.acked {
		acked += len(bodies)
	}
	t.Logf("%d clients of %d keys were cut off %d times and accepted %d times; %d messages acknowledged", clients, keys, cuts, came, acked)
	if came < 3*clients {
		t.Errorf("%d clients were accepted %d times: too few to show anything", clients, came)
	}
}
