package comet

import (
	"bytes"
	"errors"
	"net"
	"net/http"

	"github.com/golang/glog"
	"github.com/gorilla/websocket"

	"gopush-cluster/internal/wire"
)

// frameLimit bounds the payload of a client's frame and of its message, bytes.
// All a client has to say is one letter.
const frameLimit = 512

// frameHeader is the length of the longest header of a client's frame.
const frameHeader = 14

// handler answers HTTP on the WebSocket port.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sub", s.upgrade)
	return mux
}

// upgrade turns a request into a session. gorilla/websocket does the handshake;
// its Conn is let go, for its buffers would stay as long as the connection.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{
		HandshakeTimeout: commandTime,
		ReadBufferSize:   frameLimit,
		WriteBufferSize:  frameLimit,
		CheckOrigin:      func(r *http.Request) bool { return s.cfg.Load().WebSocket.welcome(r.Header.Get("Origin")) },
	}
	sub, subErr := wire.SubFromQuery(r.URL.Query())
	ws, err := up.Upgrade(w, r, nil)
	if err != nil { // it has been answered
		s.stats.refused[refuseProtocol].Add(1)
		return
	}
	nc := ws.NetConn()
	// From here on the request's goroutine and buffers are not needed.
	s.greeting.start(&s.sockets, nc, func() { s.serveWSConn(nc, sub, subErr) })
}

// serveWSConn speaks with one client from the end of its handshake on. err says
// what is wrong with its command.
func (s *Server) serveWSConn(nc net.Conn, sub wire.Sub, err error) {
	defer nc.Close()
	conn := s.greet(nc)
	if conn == nil {
		return
	}
	defer s.greeting.remove(conn)
	if sess := s.admit(conn, sub, err, overWebSocket); sess != nil {
		sess.readWS()
		s.leave(sess)
	}
}

// readWS answers heartbeats and control frames until the client is gone.
func (s *session) readWS() {
	var in wsReader
	late := 0 // bytes that came after the session's end
	buf := make([]byte, 0, 64)
	for {
		if len(buf) == cap(buf) { // a frame longer than a heartbeat
			buf = append(make([]byte, 0, frameLimit+frameHeader), buf...)
		}
		n, err := s.hear(buf[len(buf):cap(buf)])
		if n == 0 && err != nil {
			s.end(readEnd(err))
			return
		}
		buf = buf[:len(buf)+n]
		used := 0
		for !s.ended() {
			f, n, err := wire.ParseFrame(buf[used:], frameLimit)
			if err == nil && n == 0 {
				break
			}
			used += n
			if err == nil {
				err = in.frame(s, f)
			}
			if fe := (*wire.FrameError)(nil); errors.As(err, &fe) {
				s.finish(endBadByte, wire.AppendClose(nil, fe.Code, fe.Reason))
			}
		}
		if s.ended() { // what still comes is not listened to, and not for long
			used = len(buf)
			if late += used; late > lingerBytes {
				s.end(endClient)
				return
			}
		}
		buf = buf[:copy(buf, buf[used:])]
	}
}

// wsReader puts a client's messages together.
type wsReader struct {
	message []byte // of a fragmented one, so far
	op      wire.Opcode
	open    bool // a fragmented message has begun
}

// frame takes one frame of the client. Its error is a *wire.FrameError.
func (r *wsReader) frame(s *session, f wire.Frame) error {
	switch f.Op {
	case wire.OpPing:
		s.send(wire.AppendPong(nil, f.Payload))
		return nil
	case wire.OpPong:
		return nil
	case wire.OpClose:
		code, _, err := wire.ParseClose(f.Payload)
		if err != nil {
			return err
		}
		s.finish(endClient, wire.AppendClose(nil, code, ""))
		return nil
	case wire.OpContinuation:
		if !r.open {
			return &wire.FrameError{Code: wire.CloseProtocol, Reason: "continuation of nothing"}
		}
	default:
		if r.open {
			return &wire.FrameError{Code: wire.CloseProtocol, Reason: "message inside another one"}
		}
		r.open, r.op = true, f.Op
	}
	if len(r.message)+len(f.Payload) > frameLimit {
		return &wire.FrameError{Code: wire.CloseTooBig, Reason: "message too long"}
	}
	r.message = append(r.message, f.Payload...)
	if !f.Fin {
		return nil
	}
	message, op := r.message, r.op
	*r = wsReader{}
	if op == wire.OpText {
		if err := wire.CheckText(message); err != nil {
			return err
		}
	}
	for _, b := range message {
		if b != wire.Heartbeat {
			return &wire.FrameError{Code: wire.ClosePolicy, Reason: "only heartbeats are expected"}
		}
		s.beat()
	}
	return nil
}

// clientFaults takes what net/http says about the clients of this port.
type clientFaults struct{}

func (clientFaults) Write(line []byte) (int, error) {
	if glog.V(1) {
		glog.Infof("comet: websocket client failed err=%q", bytes.TrimSpace(line))
	}
	return len(line), nil
}
