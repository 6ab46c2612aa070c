package rpcnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/token"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"reflect"
	"sync"
	"time"

	"github.com/golang/glog"
	"golang.org/x/time/rate"

	"gopush-cluster/internal/backoff"
)

const (
	// handshakeTimeout is how long a peer may take to prove itself.
	handshakeTimeout = 5 * time.Second
	// writeTimeout is how long a peer may leave our answers in its socket.
	writeTimeout = 10 * time.Second
	// inFlight is how many calls of one connection run at a time, on either
	// side: far more than a healthy peer has, and a bound for one that is not.
	inFlight = 4096
)

// ServerOptions says who may call and how much.
type ServerOptions struct {
	// Trust is the secret, and who may call without; nil: none, and loopback.
	Trust *Trust
	// MaxRequest bounds one call in bytes; 0: 32 MiB. A peer that announces
	// more is disconnected.
	MaxRequest int64
	// Grace is how long running calls may take to finish when Serve ends;
	// 0: 5 s. Then their connections are closed.
	Grace time.Duration
}

// Server answers calls. Register everything before the first Serve.
type Server struct {
	opts    ServerOptions
	rpc     *rpc.Server
	refusal rate.Sometimes // keeps a stranger from filling the log
}

// NewServer returns a server without services.
func NewServer(opts ServerOptions) *Server {
	if opts.MaxRequest <= 0 {
		opts.MaxRequest = 32 << 20
	}
	if opts.Grace <= 0 {
		opts.Grace = 5 * time.Second
	}
	return &Server{
		opts:    opts,
		rpc:     rpc.NewServer(),
		refusal: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
}

// Register makes the methods of rcvr callable as name.Method, by the rules of
// net/rpc; where net/rpc would leave a method out it is an error. Each of them
// must end by itself (a call has no context) and should defer [Recover].
func (s *Server) Register(name string, rcvr any) error {
	t := reflect.TypeOf(rcvr)
	for i := range t.NumMethod() {
		if m := t.Method(i); !callable(m.Type) {
			return fmt.Errorf("rpcnet: %s.%s is %v, want func(T, *R) error with exported T and R", name, m.Name, m.Type)
		}
	}
	return s.rpc.RegisterName(name, rcvr)
}

// callable reports whether net/rpc accepts a method of type m, receiver first.
func callable(m reflect.Type) bool {
	exported := func(t reflect.Type) bool {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return token.IsExported(t.Name()) || t.PkgPath() == ""
	}
	return m.NumIn() == 3 && m.NumOut() == 1 &&
		exported(m.In(1)) && exported(m.In(2)) && m.In(2).Kind() == reflect.Pointer &&
		m.Out(0) == reflect.TypeFor[error]()
}

// Serve answers calls on l until ctx ends. Then it closes l, lets running
// calls finish for at most Grace, closes the connections and returns nil once
// the last handler has returned. It may run for several listeners at a time.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if plain := s.opts.Trust.load().plain; len(plain) > 0 {
		glog.Warningf("rpcnet: peers may call without a secret addr=%s allow=%v", l.Addr(), plain)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over, closeAll := context.WithCancel(context.WithoutCancel(ctx))
	defer closeAll()

	var conns sync.WaitGroup
	err := s.accept(ctx, l, func(conn net.Conn) {
		conns.Go(func() { s.serve(ctx, over, conn) })
	})
	cancel()
	grace := time.AfterFunc(s.opts.Grace, closeAll)
	defer grace.Stop()
	conns.Wait()
	return err
}

// accept hands connections to serve until ctx ends. An error of Accept (no
// descriptors left, a peer gone already) passes; it waits and goes on.
func (s *Server) accept(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	pause := backoff.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause.Reset()
			serve(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			s.refusal.Do(func() { glog.Warningf("rpcnet: accept failed, trying again addr=%s err=%q", l.Addr(), err) })
			if pause.Wait(ctx) != nil {
				return nil
			}
		}
	}
}

// serve answers the calls of one connection. ctx ends its reading, over closes it.
func (s *Server) serve(ctx, over context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(over, func() { conn.Close() })()

	r := bufio.NewReader(conn)
	hangUp := context.AfterFunc(ctx, func() { conn.Close() })
	err := s.admit(conn, r)
	if !hangUp() { // ctx is over: nobody waits for this one
		return
	}
	if err != nil {
		if !errors.Is(err, io.EOF) { // it only looked whether the port is open
			s.refusal.Do(func() { glog.Warningf("rpcnet: peer refused addr=%s err=%q", conn.RemoteAddr(), err) })
		}
		return
	}
	conn.SetDeadline(time.Time{})
	// Only reading ends with ctx: what runs is still answered.
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	s.rpc.ServeCodec(newServerCodec(conn, r, s.opts.MaxRequest))
}

// admit decides whether the peer may call. It leaves r at the first frame.
func (s *Server) admit(conn net.Conn, r *bufio.Reader) error {
	trust := s.opts.Trust.load()
	plain := mayGoWithout(conn.RemoteAddr(), trust.plain, len(trust.secret) == 0)
	if !plain { // others may connect early and call late
		conn.SetDeadline(time.Now().Add(handshakeTimeout))
	}
	first, err := r.Peek(1)
	switch {
	case err != nil:
		return err
	case first[0] != magic[0] && plain:
		return nil
	case first[0] != magic[0]:
		return errNoSecret
	case len(trust.secret) == 0:
		return errNoneHere
	}
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	return answer(r, conn, trust.secret)
}

// mayGoWithout reports whether a peer needs no secret: one in allow, and where
// loopback is set every process of this machine.
func mayGoWithout(addr net.Addr, allow []netip.Prefix, loopback bool) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if loopback && ip.IsLoopback() {
		return true
	}
	for _, p := range allow {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
