package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/wire"
)

// TestBrokenServer breaks the protocol in many ways, before and after +h: the
// client says so and comes back, and a message after that is delivered.
func TestBrokenServer(t *testing.T) {
	body := func(s string) []byte { return []byte(fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)) }
	text := func(s string) []byte { return wire.AppendText(nil, s) }
	tests := []struct {
		transport Transport
		name      string
		raw       []byte
		want      error // nil: any
	}{
		{TCP, "a line without end", []byte("+" + strings.Repeat("h", 5000)), ErrProtocol},
		{TCP, "an empty line", []byte("\r\n"), ErrProtocol},
		{TCP, "an unknown reply", []byte("+x\r\n"), ErrProtocol},
		{TCP, "a reply without CR", []byte("+h\n"), ErrProtocol},
		{TCP, "a length below zero", []byte("$-1\r\n"), ErrProtocol},
		{TCP, "a length that is none", []byte("$x\r\n"), ErrProtocol},
		{TCP, "no length", []byte("$\r\n"), ErrProtocol},
		{TCP, "a length over the limit", []byte("$8388609\r\n"), ErrProtocol},
		{TCP, "a length past int64", []byte("$99999999999999999999\r\n"), ErrProtocol},
		{TCP, "a length that is too short", []byte("$2\r\n{} \r\n"), ErrProtocol},
		{TCP, "a body that is no JSON", body("{"), ErrProtocol},
		{TCP, "a body without msg", body(`{"mid":1,"gid":0}`), ErrProtocol},
		{TCP, "a message and a gap", body(`{"msg":1,"gap":{"from":1},"mid":1,"gid":0}`), ErrProtocol},
		{TCP, "a gap that is none", body(`{"gap":3,"gid":0}`), ErrProtocol},
		{TCP, "a body with a mid that is none", body(`{"msg":1,"mid":"x","gid":0}`), ErrProtocol},
		{TCP, "an empty body", body(""), ErrProtocol},
		{WebSocket, "an unknown reply", text("+x\r\n"), ErrProtocol},
		{WebSocket, "an empty frame", text(""), ErrProtocol},
		{WebSocket, "a body that is no JSON", text("{"), ErrProtocol},
		{WebSocket, "a binary frame", []byte{0x82, 2, '{', '}'}, ErrProtocol},
		{WebSocket, "an unknown opcode", []byte{0x83, 0}, nil},
		{WebSocket, "a frame over the limit", binary.BigEndian.AppendUint64([]byte{0x81, 127}, maxBody+1), websocket.ErrReadLimit},
	}
	for _, tt := range tests {
		for _, accepted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v/%s/accepted=%t", tt.transport, tt.name, accepted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fake{t: t}
					f.serve = func(n int, p *peer) {
						if n > 0 || accepted {
							p.accept()
						}
						if n == 0 {
							p.raw(tt.raw)
							return
						}
						p.send(message(80, 0))
						p.stay()
					}
					f.check(f.subscribe(t.Context(), tt.transport, 1), errEnough, 80)
					if f.conns != 2 {
						t.Errorf("%d connections, want 2", f.conns)
					}
					if tt.want != nil && !f.saw(tt.want) {
						t.Errorf("states %v, want one with %v", f.states, tt.want)
					}
				})
			})
		}
	}
}

// TestMessageBeforeAccepted is the one thing that is fine later.
func TestMessageBeforeAccepted(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		f := &fake{t: t}
		f.serve = func(n int, p *peer) {
			if n > 0 {
				p.accept()
			}
			p.send(message(int64(80*(n+1)), 0))
			p.stay()
		}
		f.check(f.subscribe(t.Context(), transport, 1), errEnough, 160)
		if !f.saw(ErrProtocol) {
			t.Errorf("states %v, want one with ErrProtocol", f.states)
		}
	})
}

// TestWebSocketRefused is answered with 403 in place of the upgrade.
func TestWebSocketRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t}
		ctx := timed(t, time.Minute)
		err := f.subscribe(ctx, WebSocket, 0, func(o *Options) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Connection", "close")
						w.WriteHeader(http.StatusForbidden)
					})}
					_ = srv.Serve(&once{conn: theirs})
					<-ctx.Done()
				}()
				return ours, nil
			}
		})
		f.check(err, context.DeadlineExceeded)
		if len(f.states) == 0 || !errors.Is(f.states[0].Err, websocket.ErrBadHandshake) || !strings.Contains(f.states[0].Err.Error(), "403") {
			t.Errorf("states %v, want the handshake's status 403", f.states)
		}
	})
}

// TestLargeMessages are as large as a back-end can make them.
func TestLargeMessages(t *testing.T) {
	each(t, func(t *testing.T, transport Transport) {
		large := Message{Msg: json.RawMessage(`"` + strings.Repeat(`\u003c`, 1<<20) + `"`), Mid: 160}
		f := &fake{t: t, stored: []Message{{Msg: large.Msg, Mid: 80}}}
		f.serve = func(_ int, p *peer) {
			p.accept()
			p.send(large)
			p.stay()
		}
		f.check(f.subscribe(t.Context(), transport, 2), errEnough, 80, 160)
		for _, m := range f.got {
			if string(m.Msg) != string(large.Msg) {
				t.Errorf("mid %d came with %d bytes, want %d", m.Mid, len(m.Msg), len(large.Msg))
			}
		}
	})
}

// TestPing answers the server's pings, and says goodbye.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t}
		var pong string
		var end error
		f.serve = func(_ int, p *peer) {
			p.ws.SetPongHandler(func(data string) error {
				pong = data
				return p.ws.WriteMessage(websocket.TextMessage, wire.NewBody([]byte("1"), 0, false).AppendJSON(nil, 80))
			})
			p.accept()
			time.Sleep(time.Second) // the client reads, and nobody else writes
			p.ws.WriteMessage(websocket.PingMessage, []byte("are you there"))
			_, _, end = p.ws.ReadMessage()
		}
		f.check(f.subscribe(t.Context(), WebSocket, 1), errEnough, 80)
		if pong != "are you there" || !websocket.IsCloseError(end, websocket.CloseNormalClosure) {
			t.Errorf("pong %q, then %v, want the ping's payload and a close frame", pong, end)
		}
	})
}

// TestRealSockets goes over loopback, with the client's own dialer and HTTP
// client: a cut, what was stored meanwhile, and live messages.
func TestRealSockets(t *testing.T) {
	for _, transport := range []Transport{TCP, WebSocket} {
		t.Run(transport.String(), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			f := &fake{t: t}
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/1/server/get" {
					fmt.Fprintf(w, `{"data":{"server":%q},"ret":0}`, ln.Addr())
					return
				}
				f.webOK(w, r)
			}))
			defer web.Close()
			f.serve = func(n int, p *peer) {
				p.accept()
				if n == 0 {
					f.store(80)
					p.raw(p.frame(message(160, 0))[:5])
					return
				}
				p.send(message(160, 0))
				p.stay()
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for n := 0; ; n++ {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					p := &peer{f: f, t: t, conn: conn}
					if transport == TCP {
						if p.command() {
							f.serve(n, p)
						}
						conn.Close()
						continue
					}
					handled := make(chan struct{})
					srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(handled)
						if p.upgrade(w, r) {
							f.serve(n, p)
						}
						conn.Close()
					})}
					if err := srv.Serve(&once{conn: conn}); !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					<-handled
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var mids []int64
			err = Subscribe(ctx, Options{Web: []string{web.URL}, Key: "k1", Transport: transport}, func(m Message) error {
				if mids = append(mids, m.Mid); len(mids) == 2 {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) || !slices.Equal(mids, []int64{80, 160}) {
				t.Errorf("Subscribe ended with %v after %v, want 80 and 160", err, mids)
			}
			ln.Close()
			<-served
		})
	}
}
