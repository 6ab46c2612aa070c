package rpcnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gopush-cluster/internal/backoff"
)

// poolSize is how many connections a client keeps: a large call on one leaves
// the other free.
const poolSize = 2

// errClosed is why a call after Close is not sent.
var errClosed = errors.New("client closed")

// ClientOptions says how to reach a daemon.
type ClientOptions struct {
	// Trust is the secret, and who is called without; nil: none, and loopback.
	Trust *Trust
	// Timeout is how long a dial with its handshake, a peer that takes no
	// bytes, or one that answers nothing is waited for; 0: 2 s.
	Timeout time.Duration
	// Retry is the longest pause between two dials; 0: 1 s.
	Retry time.Duration
	// MaxReply bounds one reply in bytes; 0: 256 MiB.
	MaxReply int64
}

// Client calls one daemon. It dials when it is first needed and again, with
// back-off, after a connection broke. Methods may be called concurrently.
type Client struct {
	addr string
	opts ClientOptions
	stop context.Context // ended by Close
	end  context.CancelFunc
	runs sync.WaitGroup // one for each dial and the connection it gave

	mu      sync.Mutex
	slots   [poolSize]slot
	next    int // slot of the next call
	closed  bool
	pause   backoff.Backoff
	retryAt time.Time // no dial before it
	lastErr error     // why
}

// slot is the place of one connection.
type slot struct {
	conn *conn // nil, or maybe down already
	dial *dial // nil: none under way
}

// dial is one attempt to connect.
type dial struct {
	done chan struct{} // closed when it has ended
	err  error         // set before
}

// NewClient returns a client for the daemon at addr, host:port. It does not
// dial yet.
func NewClient(addr string, opts ClientOptions) *Client {
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.Retry <= 0 {
		opts.Retry = time.Second
	}
	if opts.MaxReply <= 0 {
		opts.MaxReply = 256 << 20
	}
	stop, end := context.WithCancel(context.Background())
	return &Client{
		addr:  addr,
		opts:  opts,
		stop:  stop,
		end:   end,
		pause: backoff.Backoff{Min: opts.Retry / 32, Max: opts.Retry},
	}
}

// Addr returns the address given to NewClient.
func (c *Client) Addr() string { return c.addr }

// Call calls method and decodes the answer into reply, a pointer. It returns
// by the end of ctx. Errors: ErrNotSent, ErrLost, or what the handler returned
// as an rpc.ServerError. After an error reply is unchanged.
func (c *Client) Call(ctx context.Context, method string, args, reply any) error {
	for {
		conn, err := c.connect(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s at %s: %w", ErrNotSent, method, c.addr, err)
		}
		if err = conn.call(ctx, method, args, reply); !errors.Is(err, errDown) {
			return err
		}
		// It broke while it was idle, and connect sees that now.
	}
}

// Close ends all connections and waits for the client's goroutines. Calls
// under way fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.runs.Wait()
}

// connect returns a live connection, and waits for one only if there is none.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, dial, err := c.pick()
	if dial == nil {
		return conn, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-dial.done:
	}
	if dial.err != nil {
		return nil, dial.err
	}
	conn, _, err = c.pick()
	if conn == nil && err == nil {
		err = errors.New("the connection broke at once")
	}
	return conn, err
}

// pick chooses the slots in turn, dials for one that is empty, and returns a
// live connection, or else the dial to wait for, or else why there is neither.
func (c *Client) pick() (*conn, *dial, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errClosed
	}
	s := &c.slots[c.next]
	c.next = (c.next + 1) % poolSize
	if s.conn.live() {
		return s.conn, nil, nil
	}
	wait := time.Until(c.retryAt)
	if s.dial == nil && wait <= 0 {
		d := &dial{done: make(chan struct{})}
		s.dial = d
		c.runs.Go(func() { c.run(s, d) })
	}
	for i := range c.slots {
		if other := c.slots[i].conn; other.live() {
			return other, nil, nil
		}
	}
	if s.dial != nil {
		return nil, s.dial, nil
	}
	return nil, nil, fmt.Errorf("next dial in %v: %w", wait.Round(time.Millisecond), c.lastErr)
}

// run dials for s and serves the connection until it breaks.
func (c *Client) run(s *slot, d *dial) {
	nc, err := c.dial()
	c.mu.Lock()
	s.dial = nil
	if err != nil {
		c.backOff(err)
		c.mu.Unlock()
		d.err = err
		close(d.done)
		return
	}
	conn := newConn(c.addr, nc, c.opts.Timeout, c.opts.MaxReply)
	s.conn = conn
	c.mu.Unlock()
	close(d.done)

	defer context.AfterFunc(c.stop, func() { conn.fail(errClosed) })()
	err = conn.run(func(err error) {
		if !errors.Is(err, errRetired) && !errors.Is(err, errClosed) {
			c.retireOthers(conn)
		}
	})

	c.mu.Lock()
	defer c.mu.Unlock()
	if s.conn == conn {
		s.conn = nil
	}
	if conn.answered() {
		c.pause.Reset()
	} else if !errors.Is(err, errRetired) { // a peer that accepts and hangs up must not be dialed in a tight loop
		c.backOff(err)
	}
}

// retireOthers has the next calls dial anew after conn broke, before those who
// used it hear of that: they repeat their calls at once, and what broke one
// connection, such as the end of the process behind it, has often broken all.
func (c *Client) retireOthers(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.slots {
		if other := c.slots[i].conn; other != nil && other != conn {
			other.retire()
		}
	}
}

// backOff keeps the client from dialing for a while. c.mu is held.
func (c *Client) backOff(err error) {
	c.lastErr = err
	c.retryAt = time.Now().Add(c.pause.Next())
}

// dial connects and makes the handshake. A trusted peer that hangs up on it
// is called without.
func (c *Client) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.stop, c.opts.Timeout)
	defer cancel()
	conn, err := c.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	trust := c.opts.Trust.load()
	if len(trust.secret) == 0 {
		if mayGoWithout(conn.RemoteAddr(), trust.plain, true) {
			return conn, nil
		}
		conn.Close()
		return nil, errors.New("no secret is set, and the address is neither loopback nor allowed")
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	hangUp := context.AfterFunc(ctx, func() { conn.Close() })
	err = offer(conn, trust.secret)
	if !hangUp() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		conn.SetDeadline(time.Time{})
		return conn, nil
	}
	conn.Close()
	if ctx.Err() == nil && errors.Is(err, errHungUp) && mayGoWithout(conn.RemoteAddr(), trust.plain, false) {
		return c.dialTCP(ctx)
	}
	return nil, err
}

func (c *Client) dialTCP(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	return d.DialContext(ctx, "tcp", c.addr)
}
