package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// options are what a run is asked to do.
type options struct {
	seed  uint64
	rate  int // pushes a second
	crowd int // sockets that never read
}

// The load, and how patient it is. What a key gets stays below what is kept for
// it, so that nothing hides behind being pushed out; the hot keys get more.
const (
	keyShare  = 4                 // pushes a second to each key, about
	keyCap    = testStore * 2 / 3 // pushes to a key
	hotKeys   = 2                 // at a time
	hotCap    = 5 * testStore     // pushes to one of them
	longAway  = 40 * time.Second  // of the clients of hot keys, at most: what they miss may be pushed out
	outlasts  = 6 * 3600          // seconds
	catchUp   = 3 * time.Minute   // for the clients of an old key, whatever happens meanwhile
	auditStep = time.Second       // between two fetches of all of a key
	hangCalm  = 3 * time.Second   // before and after a store hangs alone
	hangTime  = beatPatience + 4*time.Second
	comeBack  = 1200 * time.Millisecond // for everybody to do so, and to be on his way at any time
	again     = 300 * time.Millisecond  // until what is not done yet is tried again
)

// run is a cluster under load.
type run struct {
	t      *testing.T
	c      *cluster
	rec    *Recorder
	http   *http.Client
	opt    options
	valves map[string]*Valve
	sites  []*site
	crowd  []net.Conn // of one trouble at a time

	stopPushers func() // waits as well
}

// site is what is pushed to a cluster, and who listens: the cluster itself, and
// gopush standalone beside it.
type site struct {
	*run
	webs []Web
	push *Pusher

	mu      sync.Mutex
	crews   map[string]*crew // of the keys that are pushed to, and those that end
	keys    []string         // all there ever were
	clients int
	ending  sync.WaitGroup
}

// crew is the clients of a key.
type crew struct {
	clients []*Client
	stop    func() // waits as well
	old     bool
}

func newRun(c *cluster, rec *Recorder, opt options) *run {
	r := &run{t: c.t, c: c, rec: rec, opt: opt, valves: make(map[string]*Valve), http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512},
	}}
	c.t.Cleanup(r.http.CloseIdleConnections)
	for i := range 3 {
		r.valves[fmt.Sprintf("clients %d", i+1)] = new(Valve)
	}
	r.sites = []*site{r.site("k", "hot", c.webs, opt.rate), r.site("e", "ehot", c.single, max(1, opt.rate/10))}
	var work []func(context.Context)
	for _, s := range r.sites {
		work = append(work, s.push.Run, s.audit)
	}
	r.stopPushers = together(work)
	c.t.Cleanup(r.stopPushers) // where a fault ends the test
	c.t.Cleanup(func() {
		for _, s := range r.sites {
			s.stopAll()
		}
	})
	return r
}

func (r *run) site(name, hot string, webs []Web, rate int) *site {
	s := &site{run: r, webs: webs, crews: make(map[string]*crew)}
	s.push = &Pusher{
		Pool:   &Pool{Name: name, Size: max(4, rate/keyShare), Cap: keyCap, Born: func(key string) { s.born(key, 2, 0) }, Old: s.old},
		Hot:    &Pool{Name: hot, Size: hotKeys, Cap: hotCap, Born: func(key string) { s.born(key, 4, longAway) }, Old: s.old},
		Expire: outlasts, Webs: webs, HTTP: r.http, Rand: rand.New(rand.NewPCG(r.opt.seed, uint64(len(name)+len(hot)))), Rate: rate, Rec: r.rec,
	}
	return s
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

// born brings the clients of a key. All kinds there are take turns.
func (s *site) born(key string, n int, away time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c crew
	var work []func(context.Context)
	for range n {
		s.clients++
		i := s.clients
		cl := &Client{
			ID: s.rec.Next("client"), Key: key, WebSocket: i%2 == 0, Old: i%6 < 2, Resume: i%6 > 3,
			Webs: s.webs, HTTP: s.http, Away: away, Valve: s.valves[fmt.Sprintf("clients %d", i%3+1)], Rec: s.rec,
		}
		if away > 0 || i%3 == 0 {
			cl.Cut = 5 * time.Second
		}
		c.clients = append(c.clients, cl)
		work = append(work, cl.Run)
	}
	c.stop = together(work)
	s.crews[key] = &c
	s.keys = append(s.keys, key)
}

// old ends the life of a key: its clients get all there is, and go.
func (s *site) old(key string) {
	s.mu.Lock()
	c := s.crews[key]
	c.old = true
	s.mu.Unlock()
	for _, cl := range c.clients { // or it takes luck to find all of them in time
		cl.Settle()
	}
	s.ending.Go(func() {
		if err := s.windUp(key, c); err != nil {
			s.t.Error(err)
		}
		c.stop()
		s.mu.Lock()
		delete(s.crews, key)
		s.mu.Unlock()
	})
}

// windUp waits until the key takes a push, and each of its clients has got that
// and has nothing else to come. What else is broken at the time delays it.
func (s *site) windUp(key string, c *crew) error {
	ctx, cancel := context.WithTimeout(context.Background(), catchUp)
	defer cancel()
	web := func() Web { return s.webs[rand.IntN(len(s.webs))] }
	for !s.push.Last(web(), key) {
		if !pause(ctx, again) {
			return fmt.Errorf("%s takes no push any more", key)
		}
	}
	newest := int64(0)
	for newest == 0 {
		msgs, ret, err := fetchNew(ctx, s.http, web(), key, 0)
		if err == nil && ret == 0 && len(msgs) > 0 {
			newest = msgs[len(msgs)-1].Mid
		} else if !pause(ctx, again) {
			return fmt.Errorf("%s cannot be fetched any more: ret %d, %v, %d messages", key, ret, err, len(msgs))
		}
	}
	for _, cl := range c.clients {
		for cl.Counter() < newest {
			if !pause(ctx, again) {
				return fmt.Errorf("client %d of %s has got no further than %d, the newest is %d", cl.ID, key, cl.Counter(), newest)
			}
		}
	}
	return s.fetchAll(ctx, web, key)
}

// fetchAll fetches all that is kept for a key, until it is answered.
func (s *site) fetchAll(ctx context.Context, web func() Web, key string) error {
	for {
		err := Fetch(ctx, s.rec, s.http, web(), key)
		if err == nil || !pause(ctx, again) {
			return err
		}
	}
}

func (s *site) stopAll() {
	s.mu.Lock()
	crews := s.crews
	s.crews = nil
	s.mu.Unlock()
	for _, c := range crews {
		c.stop()
	}
}

// keysNow are the keys that are pushed to, the hot ones first.
func (r *run) keysNow() []string {
	s := r.sites[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key, c := range s.crews {
		if !c.old {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return len(b) - len(a) }) // hot1 is longer than k1
	return keys
}

// audit fetches all of a key that is pushed to, one after the other.
func (s *site) audit(ctx context.Context) {
	for pause(ctx, auditStep) {
		s.mu.Lock()
		key := ""
		for key = range s.crews {
			break
		}
		s.mu.Unlock()
		if key != "" {
			_ = Fetch(ctx, s.rec, s.http, s.webs[rand.IntN(len(s.webs))], key) // recorded
		}
	}
}

// breakAndHeal has the bouts, each at its time. Where one takes longer to heal
// than it should, the next of the same target waits.
func (r *run) breakAndHeal(bouts []Bout) {
	r.t.Helper()
	begun := time.Now()
	targets := make(map[string]*sync.Mutex)
	for _, b := range bouts {
		for _, name := range append([]string{b.Target}, b.With...) {
			targets[name] = new(sync.Mutex)
		}
	}
	do := func(what string, act func(target, way string), b Bout) {
		text := fmt.Sprintf("%s%s: %s %s", what, b.Target, b.Name, b.Way)
		r.t.Logf("%8.3fs %s", time.Since(begun).Seconds(), text)
		r.rec.Add(Event{Kind: Fault, Note: text})
		act(b.Target, b.Way)
	}
	var wg sync.WaitGroup
	for _, b := range bouts {
		time.Sleep(time.Until(begun.Add(b.Begins))) // the schedule is the point
		wg.Go(func() {
			touched := append([]string{b.Target}, b.With...)
			slices.Sort(touched) // one order, so that no two wait for each other
			for _, name := range touched {
				targets[name].Lock()
				defer targets[name].Unlock()
			}
			do("", b.Begin, b)
			time.Sleep(time.Until(begun.Add(b.Ends)))
			do("heal ", b.Heal, b)
		})
	}
	wg.Wait()
}

// hang has one store hang, with nothing else broken, for long enough that a
// heartbeat would be missed.
func (r *run) hang(name string) {
	r.t.Helper()
	r.c.ready()
	time.Sleep(hangCalm)
	r.t.Logf("          %s hangs alone", name)
	r.rec.Add(Event{Kind: Hang, Note: name})
	r.c.servers[name].Pause()
	time.Sleep(hangTime)
	r.c.servers[name].Resume()
	r.rec.Add(Event{Kind: Hang})
	time.Sleep(hangCalm)
}

// join has the guest join, with nothing else broken, while everybody hangs up and
// comes back again and again: some are on their way when the ring changes. Who is
// left behind where his key lived will not get the last message of it.
func (r *run) join() {
	r.t.Helper()
	c := r.c
	c.ready()
	if c.servers[c.guest].Running() {
		r.t.Fatalf("%s is there already", c.guest)
	}
	r.t.Logf("          %s joins alone, and everybody comes back", c.guest)
	r.rec.Add(Event{Kind: Fault, Note: c.guest + " joins alone, and everybody comes back"})
	c.launch(c.guest)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		c.servers[c.guest].WaitReady()
	}()
	for pause(ctx, comeBack) {
		s := r.sites[0]
		s.mu.Lock()
		for _, c := range s.crews {
			for _, cl := range c.clients {
				cl.HangUp()
			}
		}
		s.mu.Unlock()
	}
}

// end waits until the healed cluster does its work for everybody again, has
// every client catch up, and fetches all that is kept, of every key there was.
func (r *run) end() {
	r.t.Helper()
	r.stopPushers()
	r.c.ready()
	for _, s := range r.sites {
		s.push.Pool.End()
		s.push.Hot.End()
	}
	for _, s := range r.sites {
		s.ending.Wait()
	}
	for _, s := range r.sites {
		room := make(chan struct{}, 8)
		for i, key := range s.keys {
			room <- struct{}{}
			s.ending.Go(func() {
				defer func() { <-room }()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := s.fetchAll(ctx, func() Web { return s.webs[i%len(s.webs)] }, key); err != nil {
					s.t.Error(err)
				}
			})
		}
		s.ending.Wait()
	}
}
