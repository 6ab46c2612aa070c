package comet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// TestClientsMissNothing runs whole clients, each with its counter, its own fetch
// after +h or its mid, and its way back after a cut, against pushes, repeats,
// direct saves, Close, moves of the ring and a store that is slow and fails, and
// with some seeds keeps few. Each client must end up with every message that was
// acknowledged, each once and in order; or, if it resumes, be told that it has not.
func TestClientsMissNothing(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { clientStorm(t, seed) })
		})
	}
}

func clientStorm(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	var rndMu sync.Mutex
	chance := func(n int) int { rndMu.Lock(); defer rndMu.Unlock(); return rnd.IntN(n) }
	ms := func(most int) time.Duration { return time.Duration(chance(most*1000)) * time.Microsecond }
	r := newRig(t, func(c *Config) { c.Channel.MsgBuf = []int{4, 64}[seed%2]; c.Channel.Bucket = 1 + int(seed%3) })
	// A store that is slower than doubtTime, or fails as long, may cost a stored
	// message among those that are not stored: where it is, there are none.
	slowest := []int{5, 150, 1500}[seed%3]
	hangs := slowest > 1000
	flaky := func(op string) error {
		time.Sleep(ms(slowest))
		if (hangs || op == "save") && chance(12) == 0 {
			return errDown
		}
		return nil
	}
	r.msgs.set(flaky, flaky)
	few := seed >= 6 // then only clients that resume can know what they miss
	if few {
		r.msgs.most = 5
	}
	ctx, cancel := context.WithCancel(t.Context())
	follows := make(chan error, 1)
	go func() { follows <- r.followRing(ctx) }()

	keys := []string{"k0", "k1", "k2"}
	acked := make(map[string]map[string]int64)
	var mu sync.Mutex // guards acked
	for _, k := range keys {
		acked[k] = make(map[string]int64)
	}
	over := make(chan struct{}) // closed when clients shall settle
	var clients []*simClient
	var clientsDone sync.WaitGroup
	for i := range 9 {
		c := &simClient{at: func() *rig { return r }, key: keys[i%3], may: "none", seen: make(map[string]int64), ms: ms, chance: chance, over: over, resumes: few || i%2 == 1}
		clients = append(clients, c)
		clientsDone.Go(c.run)
	}
	v := &Service{r.Server}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 60 {
				time.Sleep(ms(400))
				k, body := keys[chance(3)], fmt.Sprintf(`"%d-%d"`, g, i)
				if !hangs && chance(4) == 0 {
					r.push(k, body, false)
					continue
				}
				p := r.item(body, true, k)
				ok := func(m int64) {
					mu.Lock()
					acked[k][body] = m
					mu.Unlock()
				}
				for try := range 3 {
					if chance(8) == 0 { // straight to the store, and told later
						m := r.msgs.direct(k, body, p.Nonce).Mid
						ok(m)
						wg.Go(func() {
							time.Sleep(ms(3000))
							v.Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: k, Mid: m}}}, &peer.SyncReply{})
						})
						break
					}
					p.Retry = try > 0
					pctx, done := context.WithTimeout(context.Background(), 100*time.Millisecond+ms(1700))
					res := r.Server.push(pctx, []peer.Push{p})[0]
					done()
					if res.Code == peer.OK {
						ok(res.Mid)
						break
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			time.Sleep(ms(2500))
			var ret int
			switch chance(3) {
			case 0:
				v.Close(keys[chance(3)], &ret)
			case 1:
				r.ring.move(keys[chance(3)])
				time.Sleep(ms(500))
				r.ring.move("foreign")
			case 2:
				clients[chance(len(clients))].cut()
			}
		}
	})
	wg.Wait()
	r.msgs.set(nil, nil)
	time.Sleep(10 * time.Second)
	close(over)
	time.Sleep(10 * time.Second)
	clientsDone.Wait()
	for i, c := range clients {
		if c.bad != "" {
			t.Errorf("client %d of %s: %s", i, c.key, c.bad)
		}
		mu.Lock()
		for body, m := range acked[c.key] {
			if c.seen[body] != m && !c.told(m) {
				t.Errorf("client %d of %s: acknowledged %s has mid %d, the client has %d", i, c.key, body, m, c.seen[body])
			}
		}
		mu.Unlock()
	}
	cancel()
	<-follows
	r.close()
}

// simClient is a client as in the field: it gives no mid, fetches by itself
// right after +h, and drops what does not rise. Or it resumes.
type simClient struct {
	at      func() *rig // where it is led to
	r       *rig        // where it was led to last
	key     string
	may     string // how bodies begin that may come twice
	ms      func(int) time.Duration
	chance  func(int) int
	over    chan struct{}
	resumes bool

	began   int64 // when it last came with nothing
	counter int64
	seen    map[string]int64
	gaps    []wire.Gap
	bad     string

	mu   sync.Mutex
	sock *fakeSocket
}

func (c *simClient) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sock != nil {
		c.sock.Close()
	}
}

// told reports whether the client knows that it may miss m: it was told, or had
// nothing yet when it came, and for the second after that for which nothing is
// told (see session.tell).
func (c *simClient) told(m int64) bool {
	return m < c.began+mid.Second || slices.ContainsFunc(c.gaps, func(g wire.Gap) bool { return m > g.From && (g.Oldest == 0 || m < g.Oldest) })
}

func (c *simClient) apply(body string, m int64) {
	if m <= c.counter {
		return
	}
	c.counter = m
	if old, ok := c.seen[body]; ok && c.bad == "" && !strings.HasPrefix(body, c.may) {
		c.bad = fmt.Sprintf("%s came as %d and as %d", body, old, m)
	}
	c.seen[body] = m
}

// run lives until over, and then until nothing more comes.
func (c *simClient) run() {
	for {
		if c.session() {
			return
		}
		time.Sleep(c.ms(300))
	}
}

// session is one connection. It reports whether the client has settled.
func (c *simClient) session() bool {
	sock := newFakeSocket()
	r := c.at()
	c.r = r
	sub := wire.Sub{Key: c.key, Heartbeat: 30 * time.Second, Version: "1", Mid: wire.NoMid, Pmid: wire.NoMid}
	if c.resumes {
		sub.Mid = c.counter
	}
	if sub.Mid == 0 && c.r.msgs.most > 0 {
		c.began = mid.Of(time.Now())
	}
	sess, err := c.r.subscribe(sock, sub, overTCP)
	if err != nil {
		return false
	}
	c.mu.Lock()
	c.sock = sock
	c.mu.Unlock()
	r.sockets.Go(func() {
		sock.Read(nil)
		sess.end(endClient)
		r.leave(sess)
	})
	defer sock.Close()
	taken, last := 0, int64(0)
	read := func() {
		var more []got
		more, taken = sock.since(taken)
		for _, g := range more {
			if g.Gap != nil {
				if !c.resumes && c.bad == "" {
					c.bad = "a gap is told to a client that gave no mid"
				}
				c.gaps = append(c.gaps, *g.Gap)
				continue
			}
			if c.resumes && g.Mid <= c.counter && c.bad == "" {
				c.bad = fmt.Sprintf("mid %d is sent, and %d was seen before", g.Mid, c.counter)
			}
			if g.Mid <= last && c.bad == "" {
				c.bad = fmt.Sprintf("mid %d comes behind %d", g.Mid, last)
			}
			last = g.Mid
			c.apply(string(g.Msg), g.Mid)
		}
	}
	if !c.resumes {
		c.fetch(read)
	}
	for {
		sock.mu.Lock()
		shut := sock.shut
		sock.mu.Unlock()
		if sock.isClosed() || shut {
			read()
			return false
		}
		select {
		case <-c.over:
			time.Sleep(5 * time.Second)
			read()
			return !sock.isClosed()
		case <-time.After(50 * time.Millisecond):
			read()
		}
	}
}

// fetch asks a while after +h; the store answers at one moment, and the answer is
// here a while later. read handles what the socket brought meanwhile.
func (c *simClient) fetch(read func()) {
	time.Sleep(c.ms(300))
	c.r.msgs.mu.Lock()
	stored := slices.Clone(c.r.msgs.key(c.key).stored)
	after := c.counter
	c.r.msgs.mu.Unlock()
	time.Sleep(c.ms(500))
	read()
	for _, m := range stored {
		if m.Mid > after {
			c.apply(string(m.Msg), m.Mid)
		}
	}
}

// since parses what was written behind the first n bytes, which end with a
// frame. It returns how many bytes there are by now.
func (s *fakeSocket) since(n int) ([]got, int) {
	s.mu.Lock()
	rest := s.written.Bytes()[n:]
	s.mu.Unlock()
	var all []got
	for len(rest) > 0 {
		size := 4 // +h or -n
		if rest[0] == '$' {
			var length int
			fmt.Sscanf(string(rest[:min(len(rest), 12)]), "$%d\r\n", &length)
			start := bytes.IndexByte(rest, '\n') + 1
			var g got
			if err := json.Unmarshal(rest[start:start+length], &g); err != nil {
				panic(err)
			}
			all = append(all, g)
			size = start + length + 2
		}
		n, rest = n+size, rest[size:]
	}
	return all, n
}
