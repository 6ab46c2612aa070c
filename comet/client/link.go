package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"gopush-cluster/internal/wire"
)

const (
	// maxBody is the longest message read: 1 MiB of pushed JSON, each byte of
	// which escaping may turn into six, and then some.
	maxBody = 8 << 20

	connectTimeout = 10 * time.Second // from dialling to +h
	writeTimeout   = 10 * time.Second
	// grace is how long after its time the answer to a heartbeat may come.
	grace = 10 * time.Second
)

// link is a connection to a comet. One goroutine calls next, one beat.
type link interface {
	// next waits for what the comet says: either a reply, or the body of a
	// message, which is then not nil.
	next() (reply wire.Reply, body []byte, err error)
	beat() error
	// close ends the connection, and with it a waiting next. It may be called
	// at any time.
	close()
}

// connect returns a link to the comet at addr that has accepted the
// subscription.
func (c *client) connect(ctx context.Context, addr string) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := c.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc := &idleConn{Conn: raw, idle: c.Heartbeat + grace}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	l, err := c.subscribe(ctx, nc, addr)
	if !stop() { // the time is over, which says more than an error of a closed connection
		err = fmt.Errorf("not accepted within %v: %w", connectTimeout, ctx.Err())
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

// subscribe sends the subscription and waits for the answer.
func (c *client) subscribe(ctx context.Context, nc net.Conn, addr string) (link, error) {
	open := openTCP
	if c.Transport == WebSocket {
		open = openWebSocket
	}
	l, err := open(ctx, nc, addr, c.Options, c.mid)
	if err != nil {
		return nil, err
	}
	reply, body, err := l.next()
	switch {
	case err != nil:
		return nil, err
	case body != nil:
		return nil, fmt.Errorf("%w: a message before +h", ErrProtocol)
	case reply != wire.Accepted:
		return nil, refusal(reply)
	}
	return l, nil
}

// idleConn is a connection that is lost when nothing at all comes for idle. A
// large message that keeps coming may take longer.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrSilent
	}
	return n, err
}
