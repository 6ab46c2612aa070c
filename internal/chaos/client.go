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

// Client is one device: it asks web where its key lives, connects there, fetches
// what it missed by its counter, and comes back whenever its connection ends.
type Client struct {
	ID        int
	Key       string
	WebSocket bool
	Old       bool // gives no version: old bodies, old URLs
	Webs      []Web
	HTTP      *http.Client
	Cut       time.Duration // it hangs up by itself about this often; 0: never
	Rec       *Recorder

	mu      sync.Mutex
	counter int64 // the largest mid seen
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
		pause(ctx, leastPause+rand.N(mostPause-leastPause))
	}
}

// Counter returns the largest mid that the client has taken.
func (c *Client) Counter() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counter
}

// session connects once and returns when the connection is over.
func (c *Client) session(ctx context.Context) {
	addr, err := c.ask(ctx)
	if err != nil {
		return // web or comets are away: ask again
	}
	l, err := c.connect(ctx, addr)
	if err != nil {
		return
	}
	socket := c.Rec.Next(Open)
	c.Rec.Add(Event{Kind: Open, Client: c.ID, Socket: socket, Key: c.Key, Note: c.kind() + " " + addr})
	life, end := context.WithCancel(ctx)
	if c.Cut > 0 {
		life, end = context.WithTimeout(ctx, c.Cut/2+rand.N(c.Cut))
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.catchUp(life, socket) })
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
		if body, err = l.read(); err == nil {
			c.take(Event{Kind: Recv, Client: c.ID, Socket: socket, Key: c.Key, Msgs: []Message{c.parse(body)}})
		}
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
	if c.Old {
		kind += " old"
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

// connect dials addr, subscribes and wants +h.
func (c *Client) connect(ctx context.Context, addr string) (link, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// A comet that is frozen takes the connection and says nothing.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err = conn.SetDeadline(time.Now().Add(dialTimeout)); err == nil {
		var l link
		if c.WebSocket {
			l, err = openWebSocket(conn, c.Key, c.Old)
		} else {
			l, err = openTCP(conn, c.Key, c.Old)
		}
		if err == nil {
			return l, conn.SetDeadline(time.Time{})
		}
	}
	conn.Close()
	return nil, err
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
