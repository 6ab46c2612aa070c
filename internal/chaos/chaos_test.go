package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

var (
	duration = flag.Duration("duration", 11*time.Second, "how long TestChaos breaks things")
	seed     = flag.Uint64("seed", 29, "decides what TestChaos breaks when; 0: another each time")
	history  = flag.String("history", "", "file that keeps the history")
	judged   = flag.String("judge", "", "a history to judge again, instead of a run")
)

// limits are how the cluster is configured. A comet is frozen for 6 s at most,
// perhaps between looking at the clock and writing.
var limits = Limits{Store: testStore, Hold: testHold, Late: 10 * time.Second}

// TestChaos breaks a cluster under load, heals it, and judges what was seen.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: this test needs a whole cluster")
	}
	if *judged != "" {
		judge(t, *judged)
		return
	}
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1 << 32)
	}
	path := *history
	if path == "" {
		path = filepath.Join(os.TempDir(), fmt.Sprintf("gopush-chaos-%d-%d.jsonl", s, os.Getpid()))
		t.Cleanup(func() {
			if !t.Failed() {
				os.Remove(path)
			}
		})
	}
	t.Logf("seed %d, %v; the history is kept if it is bad: %s", s, *duration, path)
	c := start(t)
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(c, rec, s, *duration)
	r.breakAndHeal(Plan(s, *duration, c.troubles()))
	r.end()
	c.end()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	judge(t, path)
}

// judge reads a history and fails the test if it shows a broken promise.
func judge(t *testing.T, path string) {
	t.Helper()
	events, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	report := Check(events, limits)
	t.Log(report)
	told := make(map[string]int)
	for _, v := range report.Violations {
		if told[v.Invariant]++; told[v.Invariant] > 3 {
			continue
		}
		t.Errorf("%v\n%s", v, Story(events, v))
	}
	t.Logf("violations: %v", report.Count())
}

// run is a cluster under load.
type run struct {
	t       *testing.T
	c       *cluster
	rec     *Recorder
	keys    []string
	http    *http.Client
	clients []*Client
	push    *Pusher // for the goroutine of the test

	stopPushers, stopClients func() // they wait as well
}

// The load. What a key gets stays below what is kept for it, so that nothing
// hides behind being pushed out; the hot key is there for that.
const (
	pushers   = 12
	pushPause = 100 * time.Millisecond
	clientsOf = 2 // per key
	leastKeys = 16
	keyLife   = 4 * time.Second // of the duration, for each further key
)

func newRun(c *cluster, rec *Recorder, seed uint64, d time.Duration) *run {
	r := &run{t: c.t, c: c, rec: rec, http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	c.t.Cleanup(r.http.CloseIdleConnections)
	for i := range leastKeys + int(d/keyLife) {
		r.keys = append(r.keys, fmt.Sprintf("k%d", i))
	}
	pusher := func(i uint64) *Pusher {
		return &Pusher{Keys: r.keys, Hot: "hot", Webs: c.webs, HTTP: r.http, Rand: rand.New(rand.NewPCG(seed, i)), Pause: pushPause, Rec: rec}
	}
	r.push = pusher(0)
	var work []func(context.Context)
	for i := range pushers {
		work = append(work, pusher(uint64(i+1)).Run)
	}
	r.stopPushers = together(append(work, r.audit))
	work = nil
	for i, key := range append(slices.Repeat(r.keys, clientsOf), "hot", "hot") {
		cl := &Client{ID: i + 1, Key: key, WebSocket: i%2 == 0, Old: i%5 == 0, Webs: c.webs, HTTP: r.http, Rec: rec}
		if i%3 == 0 {
			cl.Cut = 5 * time.Second
		}
		r.clients = append(r.clients, cl)
		work = append(work, cl.Run)
	}
	r.stopClients = together(work)
	c.t.Cleanup(r.stopPushers) // where a fault ends the test
	c.t.Cleanup(r.stopClients)
	return r
}

// together runs all of work until the function that it returns is called, which
// waits for them.
func together(work []func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, w := range work {
		wg.Go(func() { w(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// audit fetches all of one key after the other, through any web.
func (r *run) audit(ctx context.Context) {
	for i := 0; pause(ctx, 300*time.Millisecond); i++ {
		_ = Fetch(ctx, r.rec, r.http, r.c.webs[rand.IntN(len(r.c.webs))], r.keys[i%len(r.keys)]) // recorded
	}
}

// breakAndHeal takes the steps, each at its time.
func (r *run) breakAndHeal(steps []Step) {
	r.t.Helper()
	begun := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(begun.Add(s.At))) // the schedule is the point
		what, do := s.Trouble.Name+" "+s.Target, s.Trouble.Begin
		if s.Heal {
			what, do = "heal "+s.Target+": "+s.Trouble.Name, s.Trouble.Heal
		}
		r.t.Logf("%8.3fs %s", time.Since(begun).Seconds(), what)
		r.rec.Add(Event{Kind: Fault, Note: what})
		do(s.Target)
	}
}

// end waits until the healed cluster does its work for everybody again, has
// every client catch up, and fetches all that is kept, through every web.
func (r *run) end() {
	r.t.Helper()
	r.stopPushers()
	r.c.ready()
	keys := append(r.keys, "hot")
	for _, key := range keys {
		testenv.Eventually(r.t, 30*time.Second, func() error {
			if !r.push.One(key, 600, "last") {
				return fmt.Errorf("%s: the healed cluster does not take a push", key)
			}
			return nil
		})
	}
	newest := make(map[string]int64)
	ctx := context.Background()
	for _, key := range keys {
		msgs, ret, err := fetchNew(ctx, r.http, r.c.webs[0], key, 0)
		if ret != 0 || err != nil || len(msgs) == 0 {
			r.t.Fatalf("fetch %s from the healed cluster: ret %d, %v, %d messages", key, ret, err, len(msgs))
		}
		newest[key] = msgs[len(msgs)-1].Mid
	}
	for _, cl := range r.clients {
		testenv.Eventually(r.t, 30*time.Second, func() error {
			if got := cl.Counter(); got < newest[cl.Key] {
				return fmt.Errorf("client %d of %s has got no further than %d, the newest is %d", cl.ID, cl.Key, got, newest[cl.Key])
			}
			return nil
		})
	}
	r.stopClients()
	for _, web := range r.c.webs {
		for _, key := range keys {
			if err := Fetch(ctx, r.rec, r.http, web, key); err != nil {
				r.t.Error(err)
			}
		}
	}
}
