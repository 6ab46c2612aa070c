package registry

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/golang/glog"
)

// dial opens a connection for the library.
func (c *client) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(c.ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: conn, timeout: c.timeout}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		s.Close()
		return nil, errors.New("closed")
	}
	if c.socket != nil { // the library may have watches to ask for again
		s.watches = make(chan struct{})
	}
	c.socket = s
	return s, nil
}

// socket is a connection to a server. It mends two habits of the library.
//
// The library gives the server's first answer, to the request for a session,
// ten times as long as all others, and meanwhile tries no other server; socket
// gives it one session timeout.
//
// After a reconnect the library asks for its watches from the last transaction
// on that it has seen, and reads that number while its receiving goroutine,
// already running, may write it: a data race, and at worst a watch that misses
// what happened in between. socket holds that goroutine back until the watches
// have been asked for.
type socket struct {
	net.Conn
	timeout time.Duration

	// Owned by whoever sets read deadlines: calls do not overlap.
	deadlines int // set so far

	watches chan struct{} // closed when the watches are asked for; nil on a first connection
	asked   bool          // it is closed; owned by the writer
}

// watchesTime bounds the wait where the library has no watches to ask for.
const watchesTime = 100 * time.Millisecond

// opSetWatches is the type of the request for watches.
const opSetWatches = 101

func (s *socket) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		return s.Conn.SetReadDeadline(t)
	}
	switch s.deadlines++; {
	case s.deadlines == 1: // for the answer to the request for a session
		t = time.Now().Add(s.timeout)
	case s.deadlines == 2 && s.watches != nil: // for the first one after it
		select {
		case <-s.watches:
		case <-time.After(watchesTime):
		}
	}
	return s.Conn.SetReadDeadline(t)
}

// Write writes one packet: its length, and then, but for the very first, an id
// and the type of the request.
func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if s.watches != nil && !s.asked && len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) == opSetWatches {
		s.asked = true
		close(s.watches)
	}
	return n, err
}

// quiet keeps the library's lines for those who look for them.
type quiet struct{}

func (quiet) Printf(format string, args ...any) {
	if glog.V(2) {
		glog.Infof("registry: zk: "+format, args...)
	}
}
