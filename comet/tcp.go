package comet

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/wire"
)

// commandTime is how long a client may take for its command, and a browser for
// its HTTP headers.
const commandTime = 5 * time.Second

// serveTCP accepts clients on l until it is closed.
func (s *Server) serveTCP(ctx context.Context, l net.Listener) error {
	var wait backoff.Backoff
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait.Reset()
			s.stats.accepts[overTCP].Add(1)
			s.greeting.start(&s.sockets, conn, func() { s.serveTCPConn(conn) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // out of descriptors, say: the clients wait in the kernel's queue
			glog.Warningf("comet: accept failed addr=%s err=%q", l.Addr(), err)
			if wait.Wait(ctx) != nil {
				return nil
			}
		}
	}
}

// serveTCPConn speaks with one client from its first byte to its last.
func (s *Server) serveTCPConn(nc net.Conn) {
	defer nc.Close()
	conn := s.greet(nc)
	if conn == nil {
		return
	}
	defer s.greeting.remove(conn)
	sub, rest, err := readCommand(conn)
	if sess := s.admit(conn, sub, err, overTCP); sess != nil {
		sess.end(sess.readTCP(rest))
		s.leave(sess)
	}
}

// readCommand reads the client's command. rest is what came behind it: its first
// heartbeats.
func readCommand(conn net.Conn) (sub wire.Sub, rest []byte, err error) {
	conn.SetReadDeadline(time.Now().Add(commandTime))
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		args, used, perr := wire.ParseCommand(buf)
		switch {
		case perr != nil:
			return sub, nil, perr
		case used > 0:
			sub, err := wire.ParseSub(args)
			return sub, append([]byte(nil), buf[used:]...), err
		case err != nil:
			return sub, nil, err
		}
	}
}

// heartbeatGrace is how much later than agreed a heartbeat may come.
const heartbeatGrace = 5 * time.Second

// readTCP answers heartbeats until the client is gone, and returns why. in is
// what was read already.
func (s *session) readTCP(in []byte) reason {
	buf := make([]byte, 64)
	for {
		for _, b := range in {
			if b != wire.Heartbeat {
				return endBadByte
			}
			s.beat()
		}
		n, err := s.hear(buf)
		if n == 0 && err != nil {
			return readEnd(err)
		}
		in = buf[:n]
	}
}

// hear reads what the client says, for as long as it may take for a heartbeat.
// One that lies in the socket by then was in time: it was this process that was
// frozen, or busy.
func (s *session) hear(buf []byte) (int, error) {
	s.expectWithin(s.sub.Heartbeat + heartbeatGrace)
	n, err := s.conn.Read(buf)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		s.expectWithin(lastLook)
		n, err = s.conn.Read(buf)
	}
	return n, err
}

// lastLook is how long it takes to find what lies in the socket.
const lastLook = 10 * time.Millisecond

// beat answers one heartbeat.
func (s *session) beat() {
	s.stats.beats.Add(1)
	s.accepted()
}

// readEnd says what the error of a read means.
func readEnd(err error) reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return endNoHeartbeat
	}
	return endClient
}
