package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What a client allows, and how often it does what it does by itself. A real one
// beats every heartbeat, 30 s or more; this one is quick to miss a frozen comet.
const (
	dialTimeout  = 5 * time.Second // to connect and to be accepted
	beatInterval = 2 * time.Second
	beatPatience = 8 * time.Second        // without a byte the connection is dead
	slowestFetch = 500 * time.Millisecond // until it asks for what it missed, within legacy.hold
	leastPause   = 50 * time.Millisecond
	mostPause    = 400 * time.Millisecond // before it asks web again
)

// Client is one device: it asks web where its key lives, connects there, resumes
// after its counter or fetches what it missed, and comes back whenever its
// connection ends.
type Client struct {
	ID        int
	Key       string
	WebSocket bool
	Old       bool // gives no version: old bodies, old URLs
	Resume    bool // gives its counter, and fetches nothing
	Webs      []Web
	HTTP      *http.Client
	Cut       time.Duration // it hangs up by itself about this often; 0: never
	Away      time.Duration // and stays away for about this long
	Valve     *Valve        // nil: it always reads
	Rec       *Recorder

	settled atomic.Bool // it stays from now on

	mu      sync.Mutex
	counter int64 // the largest mid seen
	link    link  // the newest; nil: there was none yet
}

// link is a connection that a comet has accepted, on either transport.
type link interface {
	// read returns the next message's body as it came, or errGoAway. Answers to
	// heartbeats are read over.
	read() (string, error)
	beat() error
	Close() error
}

var (
	// errElsewhere means that the comet does not own the key: -n.
	errElsewhere = errors.New("the key lives elsewhere")
	// errGoAway means that the comet sent the client elsewhere: 1012, or -n.
	errGoAway = errors.New("sent elsewhere")
)

// Run lives until ctx ends.
func (c *Client) Run(ctx context.Context) {
	for ctx.Err() == nil {
		c.session(ctx)
		away := c.Away
		if c.settled.Load() {
			away = 0
		}
		pause(ctx, leastPause+rand.N(mostPause-leastPause+away))
	}
}

// Settle has the client hang up no more by itself, nor stay away, once it is back.
func (c *Client) Settle() { c.settled.Store(true) }

// Counter returns the largest mid that the client has taken.
func (c *Client) Counter() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counter
}

// HangUp ends the connection, if there is one. The client comes back.
func (c *Client) HangUp() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// session connects once and returns when the connection is over.
func (c *Client) session(ctx context.Context) {
	addr, err := c.ask(ctx)
	if err != nil {
		return // web or comets are away: ask again
	}
	after := noMid
	if c.Resume {
		after = c.Counter()
	}
	l, took, err := c.connect(ctx, addr, after)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	socket := c.Rec.Next(Open)
	c.Rec.Add(Event{Kind: Open, Client: c.ID, Socket: socket, Key: c.Key, Took: took, Resume: c.Resume, Mid: max(0, after), Note: c.kind() + " " + addr})
	life, end := context.WithCancel(ctx)
	if c.Cut > 0 && !c.settled.Load() {
		life, end = context.WithTimeout(ctx, c.Cut/2+rand.N(c.Cut))
	}
	var wg sync.WaitGroup
	if !c.Resume {
		wg.Go(func() { c.catchUp(life, socket) })
	}
	wg.Go(func() { // beats, and hangs up at the end
		defer l.Close()
		for pause(life, beatInterval) {
			if l.beat() != nil {
				return
			}
		}
	})
	for err == nil {
		var body string
		c.Valve.wait(life)
		if body, err = l.read(); err != nil {
			break
		}
		if e, ok := parseGap(body); ok && c.Resume { // to others it is no message
			e.Client, e.Socket, e.Key = c.ID, socket, c.Key
			c.Rec.Add(e)
			continue
		}
		c.take(Event{Kind: Recv, Client: c.ID, Socket: socket, Key: c.Key, Msgs: []Message{c.parse(body)}})
	}
	end()
	wg.Wait()
	c.Rec.Add(Event{Kind: Close, Client: c.ID, Socket: socket, Key: c.Key, Note: err.Error()})
}

func (c *Client) kind() string {
	kind := "tcp"
	if c.WebSocket {
		kind = "websocket"
	}
	switch {
	case c.Old:
		kind += " old"
	case c.Resume:
		kind += " resuming"
	}
	return kind
}

// take notes what arrived and raises the counter, in one step: the order in the
// history is the order in which the client counted.
func (c *Client) take(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range e.Msgs {
		c.counter = max(c.counter, m.Mid)
	}
	c.Rec.Add(e)
}

// ask asks a web for the address of the key's comet.
func (c *Client) ask(ctx context.Context) (string, error) {
	proto := 2
	if c.WebSocket {
		proto = 1
	}
	target := fmt.Sprintf("/1/server/get?k=%s&p=%d", url.QueryEscape(c.Key), proto)
	if c.Old {
		target = fmt.Sprintf("/server/get?key=%s&proto=%d", url.QueryEscape(c.Key), proto)
	}
	var a struct {
		Data struct{ Server string }
		Ret  int
	}
	if err := getJSON(ctx, c.HTTP, c.web().HTTP, target, &a); err != nil {
		return "", err
	}
	if a.Ret != 0 {
		return "", fmt.Errorf("server/get: ret %d", a.Ret)
	}
	return a.Data.Server, nil
}

func (c *Client) web() Web { return c.Webs[rand.IntN(len(c.Webs))] }

// noMid says that a client gives no mid when it subscribes.
const noMid = int64(-1)

// connect dials addr, subscribes after a mid and wants +h, which took so long.
func (c *Client) connect(ctx context.Context, addr string, after int64) (l link, took time.Duration, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	// A comet that is frozen takes the connection and says nothing.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	begun := time.Now()
	if err = conn.SetDeadline(begun.Add(dialTimeout)); err == nil {
		if c.WebSocket {
			l, err = openWebSocket(conn, c.Key, c.Old, after)
		} else {
			l, err = openTCP(conn, c.Key, c.Old, after)
		}
		if err == nil {
			return l, time.Since(begun), conn.SetDeadline(time.Time{})
		}
	}
	conn.Close()
	return nil, 0, err
}

// catchUp fetches what was missed, until one fetch is answered or ctx ends. It
// takes its time, as a phone on a slow network does.
func (c *Client) catchUp(ctx context.Context, socket int) {
	pause(ctx, rand.N(slowestFetch))
	for ctx.Err() == nil {
		if c.Fetch(ctx, socket) == nil {
			return
		}
		pause(ctx, leastPause+rand.N(mostPause-leastPause))
	}
}

// Fetch fetches what is above the counter.
func (c *Client) Fetch(ctx context.Context, socket int) error {
	e := Event{Client: c.ID, Socket: socket, Key: c.Key, Mid: c.Counter()}
	get := fetchNew
	if c.Old {
		get = fetchOld
	}
	return record(ctx, c.Rec, c.HTTP, c.web(), e, get, c.take)
}

// parse parses a body of docs/protocol.md, "Message body". What is not exactly
// one comes back whole: nobody pushed that, which Check will say.
func (c *Client) parse(body string) Message { return parseBody(body, c.Old) }

func parseBody(body string, old bool) Message {
	var b struct {
		Msg json.RawMessage
		Mid int64
		Gid int
	}
	if err := json.Unmarshal([]byte(body), &b); err != nil || body != fmt.Sprintf(`{"msg":%s,"mid":%d,"gid":%d}`, b.Msg, b.Mid, b.Gid) {
		return Message{Body: "not a body: " + body}
	}
	m := Message{Mid: b.Mid, Gid: b.Gid, Body: string(b.Msg)}
	if old && json.Unmarshal(b.Msg, &m.Body) != nil {
		return Message{Body: "not an old body: " + body}
	}
	return m
}

// parseGap parses word of a gap, docs/protocol.md, "Resume".
func parseGap(body string) (Event, bool) {
	var b struct{ Gap struct{ From, Oldest int64 } }
	if err := json.Unmarshal([]byte(body), &b); err != nil || body != fmt.Sprintf(`{"gap":{"from":%d,"oldest":%d},"gid":0}`, b.Gap.From, b.Gap.Oldest) {
		return Event{}, false
	}
	return Event{Kind: Gap, Mid: b.Gap.From, Oldest: b.Gap.Oldest}, true
}

// pause waits for d and reports whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// command returns args in the shape of a Redis request.
func command(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}
