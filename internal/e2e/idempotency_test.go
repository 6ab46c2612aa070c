package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/testenv"
)

// TestIdempotency proves that a push which is repeated with its id is stored
// and delivered once, and that one without an id is not confused with it.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	c := start(t, options{webs: 2, messages: 2})
	const key = "again"
	cl := c.subscribe(key, "", "1.0")
	for i := range 6 {
		web := c.webs[i%2]
		r := send(t, web.admin, "POST", "/1/admin/push/private?expire=600&key="+key, `"once"`, "Idempotency-Key: order-17")
		wantBody(t, r, `{"ret":0}`)
		wantBody(t, send(t, web.admin, "POST", "/1/admin/push/private?expire=600&id=order-18&key="+key, `"once"`), `{"ret":0}`)
	}
	c.mustPush(key, `"once"`)
	kept := c.mustFetch(key, 0)
	if err := rising(kept); err != nil || len(kept) != 3 {
		t.Fatalf("kept %v, %v, want one for each id and one without", kept, err)
	}
	for _, want := range kept {
		if m := cl.message(); m != want {
			t.Errorf("live %v, want %v", m, want)
		}
	}
	cl.wantSilence(200 * time.Millisecond)
}

// pushID pushes body to key, stored for ten minutes, under an id, through the
// web whose internal port is at addr. Any goroutine.
func (c *cluster) pushID(addr, key, id, body string) (ret int, err error) {
	req, err := http.NewRequest("POST", fmt.Sprintf("http://%s/1/admin/push/private?expire=600&key=%s", addr, url.QueryEscape(key)), strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Idempotency-Key", id)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var a struct{ Ret int }
	err = json.NewDecoder(res.Body).Decode(&a)
	return a.Ret, err
}

// TestLostAnswers loses the answer to a push in every place where one can be
// lost. The caller repeats the push with its id through another web until it is
// acknowledged: the message is stored once, under one mid, and is still known
// when newer ones have pushed it out, and when all daemons were killed.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	toRedis := testenv.Proxy(t, redis.Addr())
	c := start(t, options{
		nodes: []string{"node1", "node2"}, webs: 2, messages: 2,
		message: settings{`redis.source."shard1:1"`: "tcp@" + toRedis.Addr()},
	})
	toWeb := testenv.Proxy(t, c.webs[0].admin)

	type place struct {
		name string
		// lose breaks something, has the push begin, and mends it again.
		lose func(t *testing.T, owner *daemon, push func() (wait func()))
	}
	keys := make(map[string][]message) // what is kept of each once its push was acknowledged
	for _, p := range []place{
		{"between web and its caller", func(t *testing.T, _ *daemon, push func() func()) {
			toWeb.Hold(false, true)
			wait := push()
			time.Sleep(300 * time.Millisecond) // nobody can tell when it was answered
			toWeb.Cut()
			wait()
			toWeb.Hold(false, false)
		}},
		{"by a comet that is frozen", func(t *testing.T, owner *daemon, push func() func()) {
			owner.Pause()
			push()()
			owner.Resume()
		}},
		{"by a comet that is killed", func(t *testing.T, owner *daemon, push func() func()) {
			toRedis.Hold(true, false)
			wait := push()
			time.Sleep(300 * time.Millisecond)
			owner.Kill()
			toRedis.Hold(false, false)
			wait()
			owner.Start()
		}},
		{"by message daemons that are killed before Redis has read it", func(t *testing.T, _ *daemon, push func() func()) {
			toRedis.Hold(true, false)
			wait := push()
			time.Sleep(300 * time.Millisecond)
			for _, m := range c.messages {
				m.Kill()
			}
			toRedis.Hold(false, false) // now it reads it
			wait()
			for _, m := range c.messages {
				m.Start()
			}
		}},
		{"between Redis and message", func(t *testing.T, _ *daemon, push func() func()) {
			toRedis.Hold(false, true)
			push()()
			toRedis.Cut()
			toRedis.Hold(false, false)
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			c := c.with(t)
			key := strings.ReplaceAll(p.name, " ", "-")
			p.lose(t, c.owner(key), func() func() {
				done := make(chan struct{})
				go func() {
					defer close(done)
					ret, err := c.pushID(toWeb.Addr(), key, "id", `"once"`)
					t.Logf("the first time: ret %d, %v", ret, err)
				}()
				return func() { <-done }
			})
			testenv.Eventually(t, 30*time.Second, func() error {
				ret, err := c.pushID(c.webs[1].admin, key, "id", ` "once" `)
				if err == nil && ret != 0 {
					err = fmt.Errorf("ret %d", ret)
				}
				return err
			})
			c.ready()
			kept := c.mustFetch(key, 0)
			if len(kept) != 1 || kept[0].msg != `"once"` {
				t.Fatalf("kept %v, want the message once", kept)
			}
			c.mustRepeat(key, kept)
			r := send(t, c.webs[0].admin, "POST", "/1/admin/push/private?expire=600&id=id&key="+key, `"other"`)
			wantBody(t, r, `{"ret":65534}`)
			if why := r.header.Get("X-Gopush-Error"); !strings.Contains(why, "this id") {
				t.Errorf("another message with this id: X-Gopush-Error = %q", why)
			}
			for i := range 20 {
				c.mustPush(key, fmt.Sprint(i))
			}
			keys[key] = c.mustFetch(key, 0)
			if len(keys[key]) != 20 || keys[key][0].mid <= kept[0].mid {
				t.Fatalf("kept %v, want 20 newer ones", keys[key])
			}
			c.mustRepeat(key, keys[key])
		})
	}

	for _, d := range c.daemons() {
		d.Kill()
	}
	redis.Kill()
	redis.Start()
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	for key, kept := range keys {
		c.mustRepeat(key, kept)
	}
	wantBody(t, send(t, c.webs[0].admin, "POST", "/1/admin/push/mprivate?expire=600&id=id",
		fmt.Sprintf(`{"m":"\"other\"","k":"fresh,%s"}`, slices.Sorted(maps.Keys(keys))[0])),
		fmt.Sprintf(`{"data":{"fk":[%q]},"ret":0}`, slices.Sorted(maps.Keys(keys))[0]))
}

// mustRepeat repeats a push through both webs, which changes nothing.
func (c *cluster) mustRepeat(key string, kept []message) {
	c.t.Helper()
	for _, w := range c.webs {
		if ret, err := c.pushID(w.admin, key, "id", `"once"`); ret != 0 || err != nil {
			c.t.Errorf("%s: repeated: ret %d, %v", key, ret, err)
		}
	}
	if now := c.mustFetch(key, 0); !slices.Equal(now, kept) {
		c.t.Errorf("%s: after a repeat %v is kept, want %v", key, now, kept)
	}
}

// TestCutReplies carries out a push and cuts the connection before the answer to
// it, between comet and message, and between web and comet. Whoever waits for the
// answer asks again with the push's own nonce: it succeeds, and the message is
// stored and delivered once, without any id of the caller's.
func TestCutReplies(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{})
	proxies := make(map[string]*testenv.TCPProxy)
	for _, d := range []*daemon{c.messages[0], c.comets[0]} {
		p := testenv.Proxy(t, d.rpc)
		proxies[d.kind] = p
		d.configure(t, settings{"rpc.advertise": []string{p.Addr()}})
	}
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	for kind, p := range proxies {
		key := "cut-off-from-" + kind
		cl := c.subscribe(key, "", "1.0")
		c.mustPush(key, `"before"`)
		cl.message()
		conn, err := redis.Dial("tcp", c.redis[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		p.Hold(false, true)
		done := make(chan error)
		go func() {
			ret, err := c.push(c.webs[0], key, 600, `"once"`)
			if err == nil && ret != 0 {
				err = fmt.Errorf("ret %d", ret)
			}
			done <- err
		}()
		testenv.Eventually(t, patience, func() error { // it is stored, and nobody was told
			n, err := redis.Int(conn.Do("ZCARD", "gopush:m:"+key))
			if err == nil && n != 2 {
				err = fmt.Errorf("%d messages are stored", n)
			}
			return err
		})
		p.Cut() // with what it holds
		p.Hold(false, false)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if m := cl.message(); m.msg != `"once"` {
			t.Errorf("%s: live %v", key, m)
		}
		c.mustPush(key, `"after"`)
		if m := cl.message(); m.msg != `"after"` {
			t.Errorf("%s: live %v", key, m)
		}
		if kept := c.mustFetch(key, 0); len(kept) != 3 || kept[1].msg != `"once"` {
			t.Errorf("%s: kept %v", key, kept)
		}
	}
}

// TestSameIDAtOnce has twenty callers push one message at the same time, through
// two webs, while the key's comet dies: some of the pushes go past it.
func TestSameIDAtOnce(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, webs: 2, messages: 2})
	for round := range 5 {
		key := fmt.Sprint("at-once-", round)
		owner := c.owner(key)
		acked := make([]bool, 20)
		var wg sync.WaitGroup
		for i := range acked {
			wg.Go(func() {
				ret, err := c.pushID(c.webs[i%2].admin, key, "id", `"once"`)
				acked[i] = ret == 0 && err == nil
			})
		}
		if round > 0 {
			owner.Kill()
		}
		wg.Wait()
		if !slices.Contains(acked, true) {
			t.Errorf("round %d: none of 20 pushes was acknowledged", round)
		}
		if round == 0 && slices.Contains(acked, false) {
			t.Errorf("nothing failed, and the callers were told %v", acked)
		}
		if kept := c.mustFetch(key, 0); len(kept) != 1 || kept[0].msg != `"once"` {
			t.Errorf("round %d: kept %v, want one message", round, kept)
		}
		if round > 0 {
			owner.Start()
			c.ready()
		}
	}
}
