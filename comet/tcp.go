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
	conn, err := s.cfg.Load().Channel.tune(nc)
	if err != nil {
		glog.V(1).Infof("comet: socket not usable err=%q", err)
		return
	}
	if !s.greeting.add(conn) {
		return
	}
	defer s.greeting.remove(conn)
	sub, rest, err := readCommand(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.stats.refused[refuseTimeout].Add(1)
		return
	}
	var sess *session
	if err == nil {
		sess, err = s.subscribe(conn, sub, false)
	}
	if err != nil {
		s.refuse(conn, err, func(r wire.Reply) []byte { return []byte(r) })
		return
	}
	sess.end(sess.readTCP(rest))
	s.leave(sess)
}

// refuse tells a client why it may not subscribe. frame puts the reply into the
// transport's form.
func (s *Server) refuse(conn socket, err error, frame func(wire.Reply) []byte) {
	r, why := reply(err)
	s.stats.refused[why].Add(1)
	if glog.V(1) {
		glog.Infof("comet: refused reply=%q err=%q", r, err)
	}
	if r != "" {
		sayLast(conn, frame(r))
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
		s.expectWithin(s.sub.Heartbeat + heartbeatGrace)
		n, err := s.conn.Read(buf)
		if n == 0 && err != nil {
			return readEnd(err)
		}
		in = buf[:n]
	}
}

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
