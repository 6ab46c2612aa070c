package testenv

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// TCPProxy stands between a client and a server and breaks what goes through
// it. Its methods may be called from any goroutine.
type TCPProxy struct {
	t            testing.TB
	addr, target string
	wg           sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener         // nil while refusing
	conns    map[net.Conn]*caller // both ends of every connection, and who made it
	delay    time.Duration
	up, down bool // directions that are held
	who      func(client net.Conn) string
	from     map[string]broken // by who made the connection
	changed  chan struct{}     // closed and replaced when a direction is let go or a cut is made
	closed   bool
}

// caller is who made a connection, which is found out where it matters.
type caller struct {
	conn  net.Conn
	asked bool
	name  string
}

// broken is what is wrong with the connections of one client.
type broken struct{ up, down, refused bool }

// Proxy starts a proxy in front of target (host:port).
func Proxy(t testing.TB, target string) *TCPProxy {
	t.Helper()
	p := &TCPProxy{
		t: t, addr: FreeAddr(t), target: target,
		conns: make(map[net.Conn]*caller), from: make(map[string]broken), changed: make(chan struct{}),
	}
	p.Accept()
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Refuse()
		p.wg.Wait()
	})
	return p
}

// Addr returns host:port of the proxy.
func (p *TCPProxy) Addr() string { return p.addr }

// Cut breaks every connection. New ones are accepted.
func (p *TCPProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *TCPProxy) cut() {
	for c := range p.conns {
		c.Close()
	}
	p.wake()
}

// Refuse breaks every connection and refuses new ones, until Accept.
func (p *TCPProxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.cut()
}

// Accept takes connections again after Refuse.
func (p *TCPProxy) Accept() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Errorf("testenv: proxy: %v", err)
		return
	}
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
}

// Hold keeps the bytes that go up, to the target, or down, to the client, on
// all connections, new ones included, which stay open. Hold(false, false) lets
// them go on where they were.
func (p *TCPProxy) Hold(up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = up, down
	p.wake()
}

// Know has the proxy ask who made a connection, so that it can be broken for one
// client alone. Call it before there are any.
func (p *TCPProxy) Know(who func(client net.Conn) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = who
}

// of returns who made a connection. To find out takes a while, so it is asked only
// while something is broken for somebody. p.mu is held.
func (p *TCPProxy) of(c *caller) string {
	if !c.asked && p.who != nil && len(p.from) > 0 {
		c.asked, c.name = true, p.who(c.conn)
	}
	return c.name
}

// change changes what is wrong with the connections of one client. p.mu is held.
func (p *TCPProxy) change(who string, b broken) {
	if b == (broken{}) {
		delete(p.from, who)
	} else {
		p.from[who] = b
	}
	for _, c := range p.conns {
		p.of(c)
	}
}

// HoldFrom is Hold for the connections of one client.
func (p *TCPProxy) HoldFrom(who string, up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.from[who]
	b.up, b.down = up, down
	p.change(who, b)
	p.wake()
}

// RefuseFrom breaks the connections of one client, and new ones as soon as they
// are accepted, until AcceptFrom.
func (p *TCPProxy) RefuseFrom(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.from[who]
	b.refused = true
	p.change(who, b)
	for c, of := range p.conns {
		if of.name == who {
			c.Close()
		}
	}
	p.wake()
}

// AcceptFrom takes connections of a client again after RefuseFrom.
func (p *TCPProxy) AcceptFrom(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.from[who]
	b.refused = false
	p.change(who, b)
}

// Delay makes every piece of data wait for d, in either direction.
func (p *TCPProxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// wake lets the held goroutines look again. p.mu is held.
func (p *TCPProxy) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *TCPProxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed by Refuse
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// serve carries bytes between client and a new connection to the target until
// either ends.
func (p *TCPProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return // the client sees its connection closed
	}
	defer server.Close()
	p.mu.Lock()
	who := &caller{conn: client}
	if p.listener == nil || p.from[p.of(who)].refused { // Refuse came in between
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = who, who
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.carry(server, client, func() bool { return p.up || p.from[who.name].up }) })
	both.Go(func() { p.carry(client, server, func() bool { return p.down || p.from[who.name].down }) })
	both.Wait()

	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// carry copies from src to dst while held, which is asked under p.mu, is false.
// At the end of src it tells dst so; on any other error it closes both.
func (p *TCPProxy) carry(dst, src net.Conn, held func() bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			p.wait(src, held)
			if _, err := dst.Write(buf[:n]); err != nil {
				src.Close()
				dst.Close()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			p.wait(src, held)
			_ = dst.(*net.TCPConn).CloseWrite() // an error: dst is gone already
			return
		}
		if err != nil {
			dst.Close()
			return
		}
	}
}

// wait returns when the direction is not held and the delay is over, or conn
// has been cut.
func (p *TCPProxy) wait(conn net.Conn, held func() bool) {
	p.mu.Lock()
	delay := p.delay
	for held() && conn.SetReadDeadline(time.Time{}) == nil { // an error: conn is closed
		changed := p.changed
		p.mu.Unlock()
		<-changed
		p.mu.Lock()
	}
	p.mu.Unlock()
	time.Sleep(delay)
}
