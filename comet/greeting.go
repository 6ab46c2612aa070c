package comet

import (
	"net"
	"sync"

	"github.com/golang/glog"
)

// greetings are the sockets that are no session yet: nobody else knows of them
// when the comet ends. The zero value is ready.
type greetings struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{} // guarded by mu
	closed bool                  // guarded by mu: there are to be no more
}

// start serves a connection by a task of tasks, or closes it after close: who
// then waits for tasks must not find that another one begins.
func (g *greetings) start(tasks *sync.WaitGroup, conn net.Conn, serve func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		conn.Close()
		return
	}
	tasks.Go(serve)
}

// add notes a socket. It returns false after close: then it is to be closed.
func (g *greetings) add(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if g.conns == nil {
		g.conns = make(map[net.Conn]struct{})
	}
	g.conns[conn] = struct{}{}
	return true
}

// remove forgets a socket that has become a session, or is over.
func (g *greetings) remove(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
}

// close closes them all, and keeps new ones out.
func (g *greetings) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
	g.conns, g.closed = nil, true
}

// greet makes a socket of a client's connection, which greeting knows from then
// on, or returns nil if it is not to be served.
func (s *Server) greet(nc net.Conn) socket {
	conn, err := s.cfg.Load().Channel.tune(nc)
	if err != nil {
		glog.V(1).Infof("comet: socket not usable err=%q", err)
		return nil
	}
	if !s.greeting.add(conn) {
		return nil
	}
	return conn
}
