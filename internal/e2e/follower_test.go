package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// follower is a client as it should be: it asks web for its comet, subscribes,
// and begins again when it is sent away or cut off. What it missed it fetches
// itself, or it resumes.
type follower struct {
	key  string
	kind kind
	web  *daemon

	mu   sync.Mutex
	seen []message
	mid  int64
	conn *net.TCPConn // the newest
	live bool         // it is connected, and has fetched what it missed; or it resumes
	came []arrival    // when it was accepted
	lost []time.Time  // when it was sent away or cut off
	from []string     // by which comet, each time
	told int          // how many of those times it was told to ask elsewhere
	bad  error        // what no client should see
}

// kind is how a follower gets what it has missed.
type kind int

const (
	fetches    kind = iota // over HTTP, by itself; messages come by TCP
	resumes                // it gives its mid, by TCP
	resumesWS              // or by WebSocket
	kindsCount int  = iota
)

// kindsOf are n kinds in turn.
func kindsOf(n int) []kind {
	kinds := make([]kind, n)
	for i := range kinds {
		kinds[i] = kind(i % kindsCount)
	}
	return kinds
}

// arrival is a client's being accepted by a comet.
type arrival struct {
	at   time.Time
	from string // the address of the comet that sent it away; "": it comes for the first time
}

// follow starts n followers of all kinds, each of its own key, and returns them
// when all are connected. They end with the test.
func (c *cluster) follow(n int, prefix string) []*follower {
	c.t.Helper()
	followers := make([]*follower, n)
	for i, k := range kindsOf(n) {
		followers[i] = &follower{key: fmt.Sprintf("%s-%d", prefix, i), kind: k}
	}
	c.run(followers)
	return followers
}

// run starts followers and returns when all are connected. They end with the
// test.
func (c *cluster) run(followers []*follower) {
	c.t.Helper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, f := range followers {
		f.web = c.webs[0]
		running.Go(func() { f.run(c, stop) })
	}
	c.t.Cleanup(func() {
		close(stop)
		for _, f := range followers {
			f.cut()
		}
		running.Wait()
	})
	testenv.Eventually(c.t, 60*time.Second, func() error { return allConnected(followers) })
}

// allConnected returns nil when each follower has a connection.
func allConnected(followers []*follower) error {
	for _, f := range followers {
		if !f.connected() {
			return fmt.Errorf("%s is not connected", f.key)
		}
	}
	return nil
}

func (f *follower) run(c *cluster, stop <-chan struct{}) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		before := f.sessions()
		f.session(c, stop)
		if f.sessions() > before {
			pause = firstPause
		}
		select {
		case <-stop:
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// A follower waits a little longer after each try in vain, but not for long: an
// impatient client is the harder test.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// session is one connection, from the question to web to its end.
func (f *follower) session(c *cluster, stop <-chan struct{}) {
	proto := byTCP
	if f.kind == resumesWS {
		proto = byWebSocket
	}
	addr, err := serverFor(f.web, f.key, proto)
	if err != nil {
		return
	}
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return
	}
	defer conn.Close()
	f.mu.Lock()
	f.conn = conn.(*net.TCPConn)
	f.mu.Unlock()
	select {
	case <-stop: // nobody will cut this one
		return
	default:
	}
	in, err := f.subscribe(c.t, conn)
	if err != nil {
		return // -n: the ring is changing
	}
	f.mu.Lock()
	came := arrival{at: time.Now()}
	if n := len(f.from); n > 0 {
		came.from = f.from[n-1]
	}
	f.came = append(f.came, came)
	f.mu.Unlock()
	if f.kind == fetches {
		missed, err := c.fetch(f.web, f.key, f.last())
		if err != nil {
			return
		}
		for _, m := range missed {
			f.take(m)
		}
	}
	f.mu.Lock()
	f.live = true
	f.mu.Unlock()
	for {
		body, err := in.read(time.Hour)
		if err != nil {
			f.end(addr, sentAway(err))
			return
		}
		m, err := parseMessage(body)
		if err == nil && f.kind != fetches && m.mid <= f.last() {
			err = fmt.Errorf("%s resumed after %d and got %v", f.key, f.last(), m)
		}
		if err != nil {
			f.mu.Lock()
			f.bad = err
			f.mu.Unlock()
			return
		}
		f.take(m)
	}
}

// subscribe returns what reads f's messages once the comet has accepted it.
func (f *follower) subscribe(t testing.TB, conn net.Conn) (reader, error) {
	mid := fmt.Sprint(f.last())
	in := bufio.NewReader(conn)
	if f.kind == resumesWS {
		cl := &wsClient{t: t, conn: conn, in: in}
		res, err := cl.upgrade("key=" + url.QueryEscape(f.key) + "&heartbeat=10000&ver=1.0&mid=" + mid)
		if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(res.Status)
		}
		if err == nil {
			err = accepted(cl.read(patience))
		}
		return cl, err
	}
	args := []string{"sub", f.key, "10000", "", "1.0"}
	if f.kind == resumes {
		args = append(args, mid)
	}
	if _, err := conn.Write([]byte(command(args...))); err != nil {
		return nil, err
	}
	cl := &tcpClient{t: t, conn: conn, in: in}
	cl.deadline(patience)
	return cl, accepted(in.ReadString('\n'))
}

// accepted returns nil if the answer to a subscription is +h.
func accepted(answer string, err error) error {
	if err == nil && answer != "+h\r\n" {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}

// sentAway reports whether a read ended with what tells a client to ask web
// again: -n, or a close frame 1012.
func sentAway(err error) bool {
	return strings.Contains(err.Error(), `"-n\r\n"`) || strings.Contains(err.Error(), `opcode 0x8 "\x03\xf4`)
}

// take counts m if it is new, as every client does.
func (f *follower) take(m message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.mid > f.mid {
		f.mid = m.mid
		f.seen = append(f.seen, m)
	}
}

// saw reports whether f has seen body.
func (f *follower) saw(body string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.seen {
		if m.msg == body {
			return true
		}
	}
	return false
}

func (f *follower) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

// sessions returns how often f was accepted.
func (f *follower) sessions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.came)
}

func (f *follower) last() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mid
}

func (f *follower) end(from string, told bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = false
	f.lost, f.from = append(f.lost, time.Now()), append(f.from, from)
	if told {
		f.told++
	}
}

func (f *follower) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.CloseRead() // an error: it is gone already
	}
}

// times returns when f was sent away or cut off, and how often it was told so.
func (f *follower) times() ([]time.Time, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost, f.told
}

// has returns nil when f has seen each of bodies once, and nothing else but
// passing, and failed ones, each at most once.
func (f *follower) has(bodies, failed []string, passing map[string]bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad != nil {
		return f.bad
	}
	count := make(map[string]int)
	stored := 0
	for _, m := range f.seen {
		if !passing[m.msg] {
			count[m.msg]++
			stored++
		}
	}
	for _, b := range bodies {
		if count[b] != 1 {
			return fmt.Errorf("%s: %s was seen %d times of %d messages in all", f.key, b, count[b], len(f.seen))
		}
	}
	for _, b := range failed {
		if count[b] > 1 {
			return fmt.Errorf("%s: %s failed and was seen %d times", f.key, b, count[b])
		}
		stored -= count[b]
	}
	if stored != len(bodies) {
		return fmt.Errorf("%s: %d messages were seen, %d pushed", f.key, stored, len(bodies))
	}
	return nil
}

// caughtUp waits until each follower has seen what was acknowledged for it.
func (c *cluster) caughtUp(book *ledger, followers []*follower) {
	c.t.Helper()
	testenv.Eventually(c.t, 60*time.Second, func() error {
		book.mu.Lock()
		defer book.mu.Unlock()
		for _, f := range followers {
			if err := f.has(book.acked[f.key], book.failed[f.key], book.passing[f.key]); err != nil {
				return err
			}
		}
		return nil
	})
}

// pushAll pushes to each follower in turn, perSecond in all, until stop is
// called, and notes what became of each push.
func (c *cluster) pushAll(book *ledger, followers []*follower, perSecond int) (stop func()) {
	const workers = 8
	done := make(chan struct{})
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			tick := time.NewTicker(workers * time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for i := w; ; i += workers {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				_, _ = c.try(book, c.webs[0], followers[i%len(followers)].key, fmt.Sprint(i)) // noted
			}
		})
	}
	return func() {
		close(done)
		running.Wait()
	}
}
