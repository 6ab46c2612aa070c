package comet

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/wire"
)

// subscribe turns a connection into a session: own this key? → token → join the
// channel, held → +h. The session's reader must call leave when it ends.
func (s *Server) subscribe(conn socket, sub wire.Sub, ws bool) (*session, error) {
	if err := s.owns(sub.Key); err != nil {
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
		ws:       ws,
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
	sess.awaitBase()
	s.stats.sessions[sess.transport()].Add(1)
	sess.accepted()
	c.hold()
	sess.release = time.AfterFunc(s.limits().hold, func() { c.post(released{sess}) })
	if glog.V(1) {
		glog.Infof("comet: session begins key=%q ws=%v version=%q", sub.Key, ws, sub.Version)
	}
	return sess, nil
}

// baseWait is how long the first answer waits for the channel's base. A client
// fetches after it, so that what was stored up to the base is in the fetch, and
// what comes later is handed out. Where the store takes longer the client need
// not wait: see settle.
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
	if sess.release.Stop() {
		sess.channel.release(1) // the timer's own hold; the session has another
	}
	sess.channel.post(left{sess})
	s.stats.sessions[sess.transport()].Add(-1)
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
