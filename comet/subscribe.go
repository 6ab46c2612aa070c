package comet

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/wire"
)

// admit subscribes a client, or tells it why it may not and returns nil. err says
// what is wrong with its command already.
func (s *Server) admit(conn socket, sub wire.Sub, err error, via transport) *session {
	var sess *session
	if err == nil {
		sess, err = s.subscribe(conn, sub, via)
	}
	if err == nil {
		return sess
	}
	r, why := reply(err)
	s.stats.refused[why].Add(1)
	if glog.V(1) {
		glog.Infof("comet: refused reply=%q err=%q", r, err)
	}
	if r != "" {
		sayLast(conn, refusalFrames(r, via))
	}
	return nil
}

// refusalFrames is a reply as the transport has it; over WebSocket there is a
// close frame behind it.
func refusalFrames(r wire.Reply, via transport) []byte {
	if via == overTCP {
		return []byte(r)
	}
	code := wire.ClosePolicy
	if r == wire.WrongNode {
		code = wire.CloseRestart
	}
	return wire.AppendClose(wire.AppendText(nil, r), code, "")
}

// subscribe turns a connection into a session: own this key? → its turn → token →
// join the channel, held → +h. The session's reader must call leave when it ends.
func (s *Server) subscribe(conn socket, sub wire.Sub, via transport) (*session, error) {
	if err := s.owns(sub.Key); err != nil {
		return nil, err
	}
	if err := s.intake.turn(); err != nil {
		return nil, err
	}
	if s.cfg.Load().Channel.Auth {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Load().RPC.Timeout.D())
		defer cancel()
		if err := s.tokens.check(ctx, sub.Key, sub.Token); err != nil {
			return nil, err
		}
	}
	sess := &session{
		outbox:   outbox{conn: conn, stats: &s.stats, limits: s.limits, tasks: &s.sockets},
		sub:      sub,
		via:      via,
		joinedAt: s.deps.Now(),
		based:    make(chan struct{}),
	}
	c := s.env.table.acquire(sub.Key, s.env.channel(sub.Key))
	sess.channel = c
	joined := make(chan bool, 1)
	c.post(joining{sess, joined})
	if !<-joined {
		return nil, fmt.Errorf("%w: key=%q", ErrFull, sub.Key)
	}
	// The ring may have changed while we joined. From here on a change finds
	// the session in its channel.
	if err := s.owns(sub.Key); err != nil {
		c.post(left{sess})
		return nil, err
	}
	s.greeting.remove(conn) // drain finds it in its channel now, and says goodbye
	if !sess.resumes() {
		sess.awaitBase()
	}
	s.stats.sessions[sess.via].Add(1)
	sess.accepted()
	c.hold()
	if sess.resumes() {
		s.stats.resumed.Add(1)
		c.post(released{sess})
	} else {
		sess.release = time.AfterFunc(s.limits().hold, func() { c.post(released{sess}) })
	}
	if glog.V(1) {
		glog.Infof("comet: session begins key=%q transport=%s version=%q", sub.Key, via, sub.Version)
	}
	return sess, nil
}

// baseWait is how long the first answer waits for the channel's base. A client
// fetches after it, so that what was stored up to the base is in the fetch, and
// what comes later is handed out. Where the store takes longer the client need
// not wait: see base.
const baseWait = 200 * time.Millisecond

func (s *session) awaitBase() {
	t := time.NewTimer(baseWait)
	defer t.Stop()
	select {
	case <-s.based:
	case <-t.C:
	}
	s.greeted.Store(true)
}

// leave takes a session whose socket is closed off its channel.
func (s *Server) leave(sess *session) {
	if sess.release != nil && sess.release.Stop() {
		sess.channel.release(1) // the timer's own hold; the session has another
	}
	sess.channel.post(left{sess})
	s.stats.sessions[sess.via].Add(-1)
	why := sess.reason()
	s.stats.ended[why].Add(1)
	if glog.V(1) {
		glog.Infof("comet: session ended key=%q reason=%s", sess.sub.Key, why)
	}
}

// owns returns nil if clients of key belong here.
func (s *Server) owns(key string) error {
	if s.draining.Load() {
		return fmt.Errorf("%w: draining", ErrNotOwner)
	}
	if s.alone.Load() {
		return fmt.Errorf("%w: nobody is there to say that it is", ErrNotOwner)
	}
	if err := s.deps.Ring.Owns(key); err != nil {
		return fmt.Errorf("%w: %w", ErrNotOwner, err)
	}
	return nil
}

// sayLast writes the last bytes a refused client gets and waits until it has
// closed its end: what it sent behind its command would otherwise turn our close
// into a reset, which may overtake them.
func sayLast(conn socket, last []byte) {
	conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(last); err != nil {
		return // it is gone, which is all we want
	}
	conn.CloseWrite()
	io.CopyN(io.Discard, conn, lingerBytes)
}
