package registry

import (
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
	c.socket = s
	return s, nil
}

// socket is a connection to a server. The library gives the server's first
// answer, to the request for a session, ten times as long as all others, and
// meanwhile tries no other server; socket gives it one session timeout.
type socket struct {
	net.Conn
	timeout time.Duration
	greeted bool // the first read deadline was set; calls do not overlap
}

func (s *socket) SetReadDeadline(t time.Time) error {
	if !s.greeted && !t.IsZero() {
		s.greeted = true
		t = time.Now().Add(s.timeout)
	}
	return s.Conn.SetReadDeadline(t)
}

// quiet keeps the library's lines for those who look for them.
type quiet struct{}

func (quiet) Printf(format string, args ...any) {
	if glog.V(2) {
		glog.Infof("registry: zk: "+format, args...)
	}
}
