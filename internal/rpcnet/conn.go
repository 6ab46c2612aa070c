package rpcnet

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// errDown means that the connection was down before the call touched it.
	errDown   = errors.New("connection down")
	errSilent = errors.New("the peer answers nothing")
	// errRetired means that another connection to the peer broke.
	errRetired = errors.New("its like broke")
)

// conn is one connection to a daemon. A call is encoded by its caller, behind
// those before it, written by the writer with whatever else waits, and
// answered by the reader. So no caller is held longer than its context by a
// peer that does not read.
type conn struct {
	// Set by newConn, then read-only.
	addr    string
	nc      net.Conn
	timeout time.Duration
	max     int64         // bytes of a reply
	down    chan struct{} // closed by fail
	wake    chan struct{} // holds one entry when out is not empty
	room    chan struct{} // one entry for each call under way
	born    time.Time

	heard atomic.Int64 // nanoseconds after born of the last bytes read; 0: none yet

	retired atomic.Bool // takes no new calls, and ends with those it has; set under mu

	mu      sync.Mutex
	err     error // why the connection is down
	enc     *gob.Encoder
	out     []byte // encoded, not yet taken by the writer
	encoded int64  // bytes encoded in all
	written int64  // bytes the kernel took
	seq     uint64
	calls   map[uint64]*call // waiting for an answer
	asked   time.Duration    // after born, when the oldest unanswered call was encoded; 0: none
}

// call is one call under way. Whoever takes it out of conn.calls finishes it.
type call struct {
	reply any
	end   int64      // conn.encoded behind it
	done  chan error // holds one
}

func newConn(addr string, nc net.Conn, timeout time.Duration, maxReply int64) *conn {
	c := &conn{
		addr:    addr,
		nc:      nc,
		timeout: timeout,
		max:     maxReply,
		down:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		room:    make(chan struct{}, inFlight),
		born:    time.Now(),
		calls:   make(map[uint64]*call),
	}
	c.enc = gob.NewEncoder(appender{c})
	return c
}

// appender lets gob encode into conn.out, under conn.mu.
type appender struct{ c *conn }

// Write implements io.Writer.
func (a appender) Write(p []byte) (int, error) {
	a.c.out = append(a.c.out, p...)
	a.c.encoded += int64(len(p))
	return len(p), nil
}

// live reports whether new calls may use c, which may be nil.
func (c *conn) live() bool {
	if c == nil || c.retired.Load() {
		return false
	}
	select {
	case <-c.down:
		return false
	default:
		return true
	}
}

// answered reports whether the peer has ever sent anything.
func (c *conn) answered() bool { return c.heard.Load() > 0 }

// call makes one call and waits for its answer, at most until ctx ends. It
// returns errDown if the connection was down already.
func (c *conn) call(ctx context.Context, method string, args, reply any) error {
	select {
	case c.room <- struct{}{}:
		defer func() { <-c.room }()
	case <-c.down:
		return errDown
	case <-ctx.Done():
		return fmt.Errorf("%w: %s at %s: %w", ErrNotSent, method, c.addr, ctx.Err())
	}
	seq, call, err := c.send(method, args, reply)
	if err != nil {
		return err
	}
	select {
	case err = <-call.done:
	case <-ctx.Done():
		if c.abandon(seq) {
			return fmt.Errorf("%w: %s at %s: %w", ErrLost, method, c.addr, ctx.Err())
		}
		err = <-call.done // the answer is here, and being put into reply
	}
	if _, remote := err.(rpc.ServerError); err == nil || remote {
		return err
	}
	return fmt.Errorf("%s at %s: %w", method, c.addr, err)
}

// send encodes a call and leaves it to the writer.
func (c *conn) send(method string, args, reply any) (uint64, *call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.retired.Load() {
		return 0, nil, errDown
	}
	c.seq++
	err := c.enc.Encode(&rpc.Request{ServiceMethod: method, Seq: c.seq})
	if err == nil {
		err = c.enc.Encode(args)
	}
	if err != nil { // a header without a body: nothing behind it would be understood
		c.failLocked(err)
		return 0, nil, fmt.Errorf("rpcnet: %s: cannot encode %T: %w", method, args, err)
	}
	call := &call{reply: reply, end: c.encoded, done: make(chan error, 1)}
	c.calls[c.seq] = call
	if c.asked == 0 {
		c.asked = time.Since(c.born)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return c.seq, call, nil
}

// abandon gives up on a call and reports whether it was still unanswered. If
// the peer has been silent for too long the connection ends: it may be one
// that will never break by itself, because the machine behind it is gone.
func (c *conn) abandon(seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waiting := c.calls[seq]
	delete(c.calls, seq)
	since := max(c.asked, time.Duration(c.heard.Load()))
	if waiting && c.asked > 0 && time.Since(c.born)-since >= c.timeout {
		c.failLocked(errSilent)
	}
	c.endRetired()
	return waiting
}

// retire lets c take no new calls: it may be broken, too, and not know it yet.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired.Store(true)
	c.endRetired()
}

// endRetired ends a connection that has nothing left to do. c.mu is held.
func (c *conn) endRetired() {
	if c.retired.Load() && len(c.calls) == 0 {
		c.failLocked(errRetired)
	}
}

// run serves the connection until it is down, calls lost, and tells every call
// that is left what became of it. It returns why.
func (c *conn) run(lost func(err error)) error {
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.fail(c.read())
	writer.Wait()
	lost(c.err) // nobody sets it any more

	c.mu.Lock()
	defer c.mu.Unlock()
	for seq, call := range c.calls {
		delete(c.calls, seq)
		// written is final, and the kernel never took what lies behind it.
		if call.end > c.written {
			call.done <- fmt.Errorf("%w: %w", ErrNotSent, c.err)
		} else {
			call.done <- fmt.Errorf("%w: %w", ErrLost, c.err)
		}
	}
	return c.err
}

// fail takes the connection down; the first reason stays.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *conn) failLocked(err error) {
	if c.err == nil {
		c.err = err
		close(c.down)
		c.nc.Close()
	}
}

// write sends what callers have encoded until the connection is down.
func (c *conn) write() {
	var buf []byte
	w := slowWriter{c.nc, c.timeout}
	for {
		select {
		case <-c.down:
			return
		case <-c.wake:
		}
		c.mu.Lock()
		buf, c.out = c.out, buf[:0]
		c.mu.Unlock()
		n, err := w.Write(buf)
		c.mu.Lock()
		c.written += int64(n)
		c.mu.Unlock()
		if err != nil {
			c.fail(err)
			return
		}
		if cap(buf) > 1<<20 { // one large call must not keep its memory
			buf = nil
		}
	}
}

// read takes answers until the stream ends.
func (c *conn) read() error {
	in := &frames{r: bufio.NewReader(ear{c})}
	dec := gob.NewDecoder(in)
	for {
		var head rpc.Response
		in.allow(c.max)
		if err := guard(func() error { return dec.Decode(&head) }); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the peer closed the connection")
			}
			return err
		}
		if err := c.answer(dec, head); err != nil {
			return err
		}
	}
}

// answer reads the body behind head and finishes the call. It decodes into a
// value of its own, because the caller may leave at any time and takes its
// reply with it. The error means that the stream is out of step.
func (c *conn) answer(dec *gob.Decoder, head rpc.Response) error {
	c.mu.Lock()
	waiting := c.calls[head.Seq]
	c.mu.Unlock()

	var body reflect.Value // invalid: the body is skipped
	if waiting != nil && head.Error == "" {
		body = reflect.New(reflect.TypeOf(waiting.reply).Elem())
		makeMaps(body)
	}
	err := guard(func() error { return dec.DecodeValue(body) })

	c.mu.Lock()
	_, waits := c.calls[head.Seq]
	delete(c.calls, head.Seq)
	c.asked = 0
	if len(c.calls) > 0 {
		c.asked = time.Since(c.born)
	}
	c.endRetired()
	c.mu.Unlock()
	if !waits {
		return err
	}
	switch {
	case head.Error != "":
		waiting.done <- rpc.ServerError(head.Error)
	case err != nil:
		waiting.done <- fmt.Errorf("%w: reply: %w", ErrLost, err)
	default:
		reflect.ValueOf(waiting.reply).Elem().Set(body.Elem())
		waiting.done <- nil
	}
	return err
}

// ear notes when the peer was last heard.
type ear struct{ c *conn }

// Read implements io.Reader.
func (e ear) Read(p []byte) (int, error) {
	n, err := e.c.nc.Read(p)
	if n > 0 {
		e.c.heard.Store(max(1, int64(time.Since(e.c.born))))
	}
	return n, err
}
