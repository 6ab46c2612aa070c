package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// readsAtOnce is how many keys a comet may have read at the same time from one
// shard of the store.
const readsAtOnce = 64

// TestReconnectStorm kills a comet and starts it again. Its clients all come back
// as soon as they can, each with its mid, while pushes go on. Each of them ends up
// with all that was pushed while it was away and since, each message once, its
// first heartbeats are answered, and the store is spared. STORM_CLIENTS asks for
// more of them, up to 15,000.
func TestReconnectStorm(t *testing.T) {
	t.Parallel()
	n := number(t, "STORM_CLIENTS", 600)
	c := prepare(t, options{redis: 2, web: settings{"reap.grace": "1m"}}) // so that the ring is not empty, and pushes are stored
	if n > 1000 {                                                         // more than the race detector bears, and figures to go by
		c.plain()
	}
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	comet := c.comets[0]
	book := newLedger()
	storm := &storm{c: c, comet: comet, stop: make(chan struct{})}
	keys := make([]string, n)
	for i := range n {
		keys[i] = fmt.Sprintf("storm-%d", i)
		storm.clients = append(storm.clients, &stormClient{key: keys[i], source: net.IPv4(127, 0, 0, byte(2+i%16))})
	}
	storm.begin()
	t.Cleanup(storm.end)
	begun := time.Now()
	c.pushAllOf(book, keys, `"first"`)
	storm.await(book, "connected", begun)
	idle := resident(t, comet.Process)

	comet.Kill()
	for i := range 3 {
		c.pushAllOf(book, keys, fmt.Sprintf(`"away %d"`, i))
	}
	begun = time.Now()
	comet.Launch()
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			_, _ = c.try(book, c.webs[0], keys[rand.IntN(n)], fmt.Sprint(i)) // noted
		}
	})
	most := 0
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			most = max(most, resident(t, comet.Process))
		}
	})
	comet.WaitReady()
	t.Logf("the comet is ready after %v", time.Since(begun).Round(time.Millisecond))
	c.pushAllOf(book, keys, `"coming back"`)
	storm.await(book, "back", begun)
	close(stop)
	others.Wait()
	storm.await(book, "still there", begun)

	storm.log(t)
	t.Logf("the comet held %d MiB with all connected, %d MiB at most while they came back, %d MiB then", idle>>20, most>>20, resident(t, comet.Process)>>20)
	var stat struct{ Shards []shardReads }
	if r := get(t, c.messages[0].stat, "/stat"); json.Unmarshal([]byte(r.body), &stat) != nil || len(stat.Shards) != 2 {
		t.Fatalf("/stat of the message daemon: %s", r.body)
	}
	for _, s := range stat.Shards {
		t.Logf("shard %s: at most %d keys were read at once", s.Name, s.Most)
		if s.Most < 1 || s.Most > readsAtOnce {
			t.Errorf("that is not 1 to %d", readsAtOnce)
		}
	}
	if len(book.failed) > 0 {
		t.Logf("%d keys had a push that failed", len(book.failed))
	}
	t.Logf("the comet: %s", strings.Join(strings.Fields(get(t, comet.stat, "/stat").body), " "))
}

// shardReads is what a message daemon shows of a shard.
type shardReads struct {
	Name string
	Most int64 `json:"reading_most"`
}

// pushAllOf pushes body to each of keys.
func (c *cluster) pushAllOf(book *ledger, keys []string, body string) {
	c.t.Helper()
	for some := range slices.Chunk(keys, 100) {
		ret, failed, err := c.pushMany(c.webs[0], some, 600, body)
		if err != nil || ret != 0 {
			failed = some
		}
		for _, key := range some {
			book.note(key, body, !slices.Contains(failed, key))
		}
	}
}

// storm is clients that each come back whenever they are cut off.
type storm struct {
	c       *cluster
	comet   *daemon
	clients []*stormClient
	stop    chan struct{}
	running sync.WaitGroup
}

type stormClient struct {
	key    string
	source net.IP // so that no address runs out of ports

	mu      sync.Mutex
	conn    net.Conn
	mid     int64
	seen    map[string]int
	bad     error
	tries   int
	accepts []time.Duration // from connecting to +h, those that were accepted
	beats   []time.Duration // what the first heartbeat of each session took
}

func (s *storm) begin() {
	for _, cl := range s.clients {
		cl.seen = make(map[string]int)
		s.running.Go(func() {
			for {
				cl.session(s)
				select {
				case <-s.stop:
					return
				case <-time.After(500*time.Millisecond + rand.N(time.Second)): // as a client does between two tries
				}
			}
		})
	}
}

func (s *storm) end() {
	close(s.stop)
	for _, cl := range s.clients {
		cl.mu.Lock()
		if cl.conn != nil {
			cl.conn.Close()
		}
		cl.mu.Unlock()
	}
	s.running.Wait()
}

// session is one connection. The client says what it has seen, and sends a
// heartbeat as soon as it is accepted.
func (cl *stormClient) session(s *storm) {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: cl.source}}
	begun := time.Now()
	conn, err := d.Dial("tcp", s.comet.tcp)
	if err != nil {
		return
	}
	defer conn.Close()
	cl.mu.Lock()
	cl.conn = conn
	cl.tries++
	mid := cl.mid
	cl.mu.Unlock()
	select {
	case <-s.stop: // nobody closes this one
		return
	default:
	}
	in := bufio.NewReaderSize(conn, 512)
	if _, err := io.WriteString(conn, command("sub", cl.key, "3600", "", "1.0", fmt.Sprint(mid))); err != nil {
		return
	}
	if err := accepted(in.ReadString('\n')); err != nil {
		return
	}
	accepted := time.Now()
	if _, err := io.WriteString(conn, "h"); err != nil {
		return
	}
	beat := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		cl.mu.Lock()
		switch {
		case line == "+h\r\n" && !beat:
			beat = true
			cl.accepts = append(cl.accepts, accepted.Sub(begun))
			cl.beats = append(cl.beats, time.Since(accepted))
		case strings.HasPrefix(line, "$"): // the body is the next line
		default:
			cl.take(strings.TrimSuffix(line, "\r\n"))
		}
		cl.mu.Unlock()
	}
}

// take counts a message. cl.mu is held.
func (cl *stormClient) take(body string) {
	m, err := parseMessage(body)
	if err == nil && m.mid <= cl.mid {
		err = fmt.Errorf("%v came behind mid %d", m, cl.mid)
	}
	if err != nil && cl.bad == nil {
		cl.bad = err
	}
	cl.mid = m.mid
	cl.seen[m.msg]++
}

// has returns nil when the client has each acknowledged message once, and besides
// only ones that failed.
func (cl *stormClient) has(acked, failed []string) error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.bad != nil {
		return cl.bad
	}
	for _, body := range acked {
		if cl.seen[body] != 1 {
			return fmt.Errorf("%s was acknowledged and seen %d times", body, cl.seen[body])
		}
	}
	for body, times := range cl.seen {
		if times > 1 || !slices.Contains(acked, body) && !slices.Contains(failed, body) {
			return fmt.Errorf("%s was seen %d times, and not acknowledged", body, times)
		}
	}
	return nil
}

// await waits until each client has what was pushed for it.
func (s *storm) await(book *ledger, what string, begun time.Time) {
	s.c.t.Helper()
	left := s.clients
	testenv.Eventually(s.c.t, 3*time.Minute, func() error {
		book.mu.Lock()
		defer book.mu.Unlock()
		var err error
		var not []*stormClient
		for _, cl := range left {
			if e := cl.has(book.acked[cl.key], book.failed[cl.key]); e != nil {
				err = fmt.Errorf("%s: %w", cl.key, e)
				not = append(not, cl)
			}
		}
		if left = not; err != nil {
			err = fmt.Errorf("%d clients are not %s, one of them %w", len(not), what, err)
		}
		return err
	})
	s.c.t.Logf("%d clients are %s after %v, and have all that was pushed for them", len(s.clients), what, time.Since(begun).Round(10*time.Millisecond))
}

// log tells how it was.
func (s *storm) log(t *testing.T) {
	t.Helper()
	var first, again, beats []time.Duration
	tries, sessions := 0, 0
	for _, cl := range s.clients {
		cl.mu.Lock()
		if len(cl.beats) < 2 {
			t.Fatalf("%s had the heartbeats of %d sessions answered, want two", cl.key, len(cl.beats))
		}
		first, again = append(first, cl.accepts[0]), append(again, cl.accepts[1:]...)
		beats = append(beats, cl.beats[1:]...)
		tries += cl.tries
		sessions += len(cl.accepts)
		cl.mu.Unlock()
	}
	t.Logf("%d connections, %d of them accepted", tries, sessions)
	t.Logf("from connecting to +h: %s at first, %s afterwards", spread(first), spread(again))
	t.Logf("the first heartbeat after that: %s", spread(beats))
}

// spread tells the half, the hundredth and the slowest of some times.
func spread(all []time.Duration) string {
	slices.Sort(all)
	at := func(part float64) time.Duration {
		return all[int(part*float64(len(all)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("half within %v, 99 %% within %v, all within %v", at(.5), at(.99), at(1))
}
