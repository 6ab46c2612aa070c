package comet

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

var (
	seeds      = flag.Uint64("seeds", 8, "how many clusters TestClientsMissNothingWhereKeysMove runs")
	clockSteps = flag.Bool("clocksteps", false, "their clocks step by up to ten seconds; see docs/design/open.md")
)

// TestClientsMissNothingWhereKeysMove is TestClientsMissNothing in a cluster:
// keys move between comets, each comet and each web hears of it in its own time,
// and calls between them are slow and get lost. A client may see a message that
// is not stored on both sides of a move.
func TestClientsMissNothingWhereKeysMove(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { travel(t, seed) })
		})
	}
}

// world is a cluster of comets over one store.
type world struct {
	chance func(int) int
	ms     func(int) time.Duration
	rigs   []*rig
	rings  []*simRing

	mu   sync.Mutex
	webs [2]simView
	last simView
}

// simView is who owns which key.
type simView struct {
	epoch int64
	owner map[string]int
}

// simRing is the ring as one comet sees it, with the rules of the directory.
type simRing struct {
	*fakeRing // Peers, Told
	w         *world
	self      int
	links     []*peer.Comet // to each comet

	mu      sync.Mutex
	view    simView
	changed chan struct{}
	former  []simFormer
	said    map[string]int64
}

type simFormer struct {
	view  simView
	epoch int64
	open  []int
}

func (r *simRing) Owns(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view.owner[key] != r.self {
		return peer.ErrNotMine
	}
	return nil
}

func (r *simRing) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// read takes over a view unless it has a newer one.
func (r *simRing) read(v simView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.epoch <= r.view.epoch {
		return
	}
	if r.view.owner != nil {
		f := simFormer{view: r.view, epoch: v.epoch}
		for i := range r.links {
			if i != r.self && r.said[r.w.addr(i)] < v.epoch {
				f.open = append(f.open, i)
			}
		}
		r.former = append(r.former, f)
	}
	r.view = v
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *simRing) Former(key string) []*peer.Comet {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*peer.Comet
	for _, f := range r.former {
		o := f.view.owner[key]
		if slices.Contains(f.open, o) && !slices.Contains(all, r.links[o]) {
			all = append(all, r.links[o])
		}
	}
	return all
}

func (r *simRing) close(epoch int64, i int) {
	for j, f := range r.former {
		if f.epoch <= epoch {
			r.former[j].open = slices.DeleteFunc(slices.Clone(f.open), func(o int) bool { return o == i })
		}
	}
}

func (r *simRing) Gone(c *peer.Comet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(r.view.epoch, slices.Index(r.links, c))
}

func (r *simRing) Done(args peer.DoneArgs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said[args.Addr] = args.Epoch
	for i := range r.links {
		if r.w.addr(i) == args.Addr {
			r.close(args.Epoch, i)
		}
	}
}

func (r *simRing) Others() []*peer.Comet {
	var all []*peer.Comet
	for i, l := range r.links {
		if i != r.self {
			all = append(all, l)
		}
	}
	return all
}

func (r *simRing) Root() int64 { return 0 }

func (r *simRing) Epoch() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.epoch
}

func (r *simRing) Comet(key string) (*peer.Comet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.links[r.view.owner[key]], nil
}

// simLink carries calls to one comet: slowly, and not always.
type simLink struct {
	caller
	w *world
}

func (l *simLink) Call(ctx context.Context, method string, args, reply any) error {
	time.Sleep(l.w.ms(4))
	if l.w.chance(60) == 0 {
		return rpcnet.ErrNotSent
	}
	err := l.caller.Call(ctx, method, args, reply)
	time.Sleep(l.w.ms(4))
	if l.w.chance(60) == 0 || ctx.Err() != nil {
		return rpcnet.ErrLost
	}
	return err
}

func (w *world) addr(i int) string { return strings.Join(w.rigs[i].info.RPC, ",") }

// move gives key to another comet. Who is told of it hears it in its own time.
func (w *world) move(wg *sync.WaitGroup, key string, to int) {
	w.mu.Lock()
	owner := make(map[string]int)
	for k, o := range w.last.owner {
		owner[k] = o
	}
	owner[key] = to
	w.last = simView{w.last.epoch + 1, owner}
	v := w.last
	w.mu.Unlock()
	for _, r := range w.rings {
		wg.Go(func() { time.Sleep(w.ms(300)); r.read(v) })
	}
	for i := range w.webs {
		wg.Go(func() {
			time.Sleep(w.ms(300))
			w.mu.Lock()
			defer w.mu.Unlock()
			if v.epoch > w.webs[i].epoch {
				w.webs[i] = v
			}
		})
	}
}

// owner returns where some web leads to.
func (w *world) owner(key string) *rig {
	i := w.chance(len(w.webs))
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rigs[w.webs[i].owner[key]]
}

func travel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 13))
	var rndMu sync.Mutex
	w := &world{chance: func(n int) int { rndMu.Lock(); defer rndMu.Unlock(); return rnd.IntN(n) }}
	w.ms = func(most int) time.Duration { return time.Duration(w.chance(most*1000)) * time.Microsecond }
	keys := []string{"k0", "k1", "k2"}
	w.last = simView{1, map[string]int{"k0": 0, "k1": 1, "k2": 2}}
	w.webs = [2]simView{w.last, w.last}
	msgs := newFakeMessages()
	slowest := []int{5, 120}[seed%2]
	slow := func(string) error { time.Sleep(w.ms(slowest)); return nil }
	msgs.set(slow, slow)
	clocks := make([]time.Duration, 4) // how far each comet's clock is off, and the store's
	var clocksMu sync.Mutex
	clock := func(i int) func() time.Time {
		return func() time.Time {
			clocksMu.Lock()
			defer clocksMu.Unlock()
			return time.Now().Add(clocks[i])
		}
	}
	msgs.now = clock(3)
	ctx, cancel := context.WithCancel(t.Context())
	follows := make(chan error, 3)
	for i := range 3 {
		ring := &simRing{fakeRing: newFakeRing(), w: w, self: i, changed: make(chan struct{}), said: make(map[string]int64)}
		r := &rig{t: t, msgs: msgs, ring: ring.fakeRing}
		cfg := testConfig()
		cfg.Channel.MsgBuf, cfg.Channel.Bucket = 64, 1+int(seed%3)
		var err error
		r.Server, err = New(cfg, Deps{Ring: ring, Moves: ring, Peers: ring, Messages: msgs, Now: clock(i),
			Join: func(registry.Info) Member { return &fakeMember{} }})
		if err != nil {
			t.Fatal(err)
		}
		r.lanes.known.Store(true)
		r.closeListeners()
		w.rigs, w.rings = append(w.rigs, r), append(w.rings, ring)
	}
	for _, ring := range w.rings {
		for _, r := range w.rigs {
			ring.links = append(ring.links, peer.NewComet(&simLink{caller: caller{service: &Service{r.Server}}, w: w}))
		}
		ring.read(w.last)
	}
	for _, r := range w.rigs {
		go func() { follows <- r.followRing(ctx) }()
	}

	acked := make(map[string]map[string]int64)
	var mu sync.Mutex // guards acked
	for _, k := range keys {
		acked[k] = make(map[string]int64)
	}
	over := make(chan struct{})
	var clients []*simClient
	var clientsDone, wg, told sync.WaitGroup
	for i := range 9 {
		k := keys[i%3]
		c := &simClient{at: func() *rig { return w.owner(k) }, key: k, may: `"~`, seen: make(map[string]int64), ms: w.ms, chance: w.chance, over: over, resumes: i/3 == 2}
		clients = append(clients, c)
		clientsDone.Go(c.run)
	}
	for g := range 6 {
		wg.Go(func() {
			for i := range 80 {
				time.Sleep(w.ms(300))
				k, body := keys[w.chance(3)], fmt.Sprintf(`"%d-%d"`, g, i)
				stored := w.chance(3) > 0
				if !stored {
					body = `"~` + body[1:]
				}
				p := w.rigs[0].item(body, stored, k)
				m, ok := w.push(&told, k, body, p)
				if ok && p.ExpireAt > 0 {
					mu.Lock()
					acked[k][body] = m
					mu.Unlock()
				}
			}
		})
	}
	wg.Go(func() {
		for range 24 {
			time.Sleep(w.ms(1000))
			if *clockSteps && w.chance(3) == 0 {
				clocksMu.Lock()
				clocks[w.chance(4)] = time.Duration(w.chance(20000)-10000) * time.Millisecond
				clocksMu.Unlock()
				continue
			}
			w.move(&told, keys[w.chance(3)], w.chance(3))
		}
	})
	wg.Wait()
	told.Wait()
	time.Sleep(10 * time.Second)
	close(over)
	clientsDone.Wait()
	for i, c := range clients {
		if c.bad != "" {
			t.Errorf("client %d of %s: %s", i, c.key, c.bad)
		}
		for body, m := range acked[c.key] {
			if c.seen[body] != m {
				t.Errorf("client %d of %s: acknowledged %s has mid %d, the client has %d", i, c.key, body, m, c.seen[body])
			}
		}
	}
	cancel()
	for _, r := range w.rigs {
		<-follows
		r.close()
	}
}

// push delivers p as web does, and repeats it as a caller does. It reports
// whether it was acknowledged, and under which mid.
func (w *world) push(told *sync.WaitGroup, k, body string, p peer.Push) (int64, bool) {
	for refused := 0; ; {
		pctx, done := context.WithTimeout(context.Background(), 1750*time.Millisecond)
		time.Sleep(w.ms(20))
		res := w.owner(k).Server.push(pctx, []peer.Push{p})[0]
		done()
		switch {
		case res.Code == peer.OK:
			if lost := w.chance(20) == 0; !lost {
				return res.Mid, true
			}
			p.Retry = true
		case res.Code == peer.NotMine:
			refused++
		default:
			p.Retry = true
		}
		if p.ExpireAt == 0 {
			return 0, false
		}
		if refused == 3 || w.chance(40) == 0 { // straight to the store, and told later
			m := w.rigs[0].msgs.direct(k, body, p.Nonce).Mid
			told.Go(func() {
				for {
					time.Sleep(w.ms(2000))
					var reply peer.SyncReply
					v := &Service{w.owner(k).Server}
					v.Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: k, Mid: m}}}, &reply)
					if reply.Codes[0] == peer.OK {
						return
					}
				}
			})
			return m, true
		}
		time.Sleep(100 * time.Millisecond)
	}
}
