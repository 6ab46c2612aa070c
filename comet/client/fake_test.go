package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"gopush-cluster/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a cluster in memory: a web and as many comets as somebody dials.
type fake struct {
	t *testing.T
	// serve is a comet's side of the nth connection, from 0. When it returns the
	// connection is cut.
	serve func(n int, p *peer)
	// web answers a request; nil: webOK.
	web func(w http.ResponseWriter, r *http.Request)
	// dial may fail; nil: it does not.
	dial func() error
	slow time.Duration // what delivering takes

	mu      sync.Mutex
	stored  []Message
	gaps    []Gap
	conns   int
	resumed []int64  // the mid that each connection gave
	dialled []string // addresses
	asked   []string // path and query of each request
	states  []State
	got     []Message
}

// peer is the comet's end of a connection.
type peer struct {
	f    *fake
	t    *testing.T
	sub  wire.Sub
	conn net.Conn
	ws   *websocket.Conn // nil: TCP
	rest []byte          // read and not used yet, of TCP
}

// each runs test once for each transport, on a clock of its own.
func each(t *testing.T, test func(t *testing.T, transport Transport)) {
	for _, transport := range []Transport{TCP, WebSocket} {
		t.Run(transport.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, transport) })
		})
	}
}

var errEnough = errors.New("enough")

// subscribe subscribes until n messages were delivered or ctx ends.
func (f *fake) subscribe(ctx context.Context, transport Transport, n int, change ...func(*Options)) error {
	o := Options{
		Web: []string{"http://web"}, Key: "k1", Transport: transport,
		HTTPClient: &http.Client{Transport: f},
		OnGap: func(g Gap) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.gaps = append(f.gaps, g)
		},
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return f.connect(ctx, addr, transport)
		},
		OnState: func(s State) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.states = append(f.states, s)
		},
	}
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // rather than for ever
	defer cancel()
	return Subscribe(ctx, o, func(m Message) error {
		time.Sleep(f.slow)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.got = append(f.got, m)
		if len(f.got) == n {
			return errEnough
		}
		return nil
	})
}

// connect starts a comet's side.
func (f *fake) connect(ctx context.Context, addr string, transport Transport) (net.Conn, error) {
	f.mu.Lock()
	n := f.conns
	f.conns++
	f.dialled = append(f.dialled, addr)
	f.mu.Unlock()
	if f.dial != nil {
		if err := f.dial(); err != nil {
			return nil, err
		}
	}
	ours, theirs := net.Pipe()
	go func() {
		p := &peer{f: f, t: f.t, conn: theirs}
		if transport == TCP {
			defer theirs.Close()
			if p.command() {
				f.serve(n, p)
			}
			return
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if p.upgrade(w, r) {
				defer theirs.Close()
				f.serve(n, p)
			}
		})}
		_ = srv.Serve(&once{conn: theirs}) // ends with io.EOF once the connection is taken
	}()
	return pipeEnd{ours}, nil
}

// pipeEnd takes a deadline after the other end was closed, as a socket does.
type pipeEnd struct{ net.Conn }

func (e pipeEnd) SetReadDeadline(t time.Time) error {
	_ = e.Conn.SetReadDeadline(t) // the Read tells
	return nil
}

// RoundTrip is the webs.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Path+"?"+r.URL.RawQuery)
	f.mu.Unlock()
	w := httptest.NewRecorder()
	if f.web != nil {
		f.web(w, r)
	} else {
		f.webOK(w, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.Code == 0 || w.Code == http.StatusBadGateway {
		return nil, errors.New("connection refused")
	}
	return w.Result(), nil
}

// webOK answers as web does.
func (f *fake) webOK(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/1/server/get" {
		f.t.Errorf("%s was asked for", r.URL.Path)
	}
	fmt.Fprintf(w, `{"data":{"server":"comet-%s:1"},"ret":0}`, r.URL.Query().Get("p"))
}

func (f *fake) store(mids ...int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range mids {
		f.stored = append(f.stored, message(m, 0))
	}
}

// mids are those delivered, public ones negative.
func (f *fake) mids() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	mids := []int64{}
	for _, m := range f.got {
		if m.Gid != 0 {
			m.Mid = -m.Mid
		}
		mids = append(mids, m.Mid)
	}
	return mids
}

// saw reports whether a state was told that has an error like err.
func (f *fake) saw(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.states {
		if errors.Is(s.Err, err) {
			return true
		}
	}
	return false
}

func message(mid int64, gid int) Message {
	return Message{Msg: json.RawMessage(fmt.Sprintf(`{"n":%d}`, mid)), Mid: mid, Gid: gid}
}

// command reads the sub command of a TCP client.
func (p *peer) command() bool {
	buf := make([]byte, wire.MaxCommand)
	for {
		args, n, err := wire.ParseCommand(p.rest)
		if err != nil {
			p.t.Errorf("the client sent %q: %v", p.rest, err)
			return false
		}
		if n > 0 {
			if p.sub, err = wire.ParseSub(args); err != nil {
				p.t.Errorf("the client sent %q: %v", args, err)
			}
			p.rest = p.rest[n:]
			return err == nil
		}
		m, err := p.conn.Read(buf)
		if err != nil {
			return false
		}
		p.rest = append(p.rest, buf[:m]...)
	}
}

// upgrade answers a WebSocket client.
func (p *peer) upgrade(w http.ResponseWriter, r *http.Request) bool {
	var err error
	if p.sub, err = wire.SubFromQuery(r.URL.Query()); err != nil || r.URL.Path != "/sub" {
		p.t.Errorf("the client asked for %s: %v", r.URL.Path, err)
	}
	u := websocket.Upgrader{}
	p.ws, err = u.Upgrade(w, r, nil)
	return err == nil
}

// accept says +h, and sends what is stored after the client's mid.
func (p *peer) accept() {
	p.f.mu.Lock()
	p.f.resumed = append(p.f.resumed, p.sub.Mid)
	stored := slices.Clone(p.f.stored)
	p.f.mu.Unlock()
	p.reply(wire.Accepted)
	for _, m := range stored {
		if m.Mid > p.sub.Mid {
			p.send(m)
		}
	}
}

// gap tells the client that messages are gone.
func (p *peer) gap(g wire.Gap) {
	if p.ws != nil {
		p.raw(g.AppendWS(nil))
		return
	}
	p.raw(g.AppendTCP(nil))
}

func (p *peer) reply(r wire.Reply) {
	if p.ws != nil {
		p.ws.WriteMessage(websocket.TextMessage, []byte(r))
		return
	}
	io.WriteString(p.conn, string(r))
}

func (p *peer) send(msgs ...Message) {
	for _, m := range msgs {
		p.raw(p.frame(m))
	}
}

// frame is m as it goes over the wire.
func (p *peer) frame(m Message) []byte {
	b := wire.NewBody(m.Msg, m.Gid, p.sub.Old())
	if p.ws != nil {
		return b.AppendWS(nil, m.Mid)
	}
	return b.AppendTCP(nil, m.Mid)
}

// raw writes bytes as they are.
func (p *peer) raw(b []byte) { io.Copy(p.conn, bytes.NewReader(b)) }

// heartbeat waits for one, and reports whether the connection still stands.
func (p *peer) heartbeat() bool {
	if p.ws != nil {
		_, b, err := p.ws.ReadMessage()
		return err == nil && string(b) == string(wire.Heartbeat)
	}
	b := make([]byte, 1)
	_, err := io.ReadFull(p.conn, b)
	return err == nil && b[0] == wire.Heartbeat
}

// stay answers heartbeats until the client goes.
func (p *peer) stay() {
	for p.heartbeat() {
		p.reply(wire.Accepted)
	}
}

// once is a listener that accepts one connection.
type once struct {
	mu   sync.Mutex
	conn net.Conn
}

func (l *once) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, io.EOF
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

// timed returns t's context, ended after d.
func timed(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
