package message

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/wallclock"
)

const (
	// leaveTime is how long the registry may take to let the daemon go, and
	// linger how long it still serves those who have not heard of it.
	leaveTime = 5 * time.Second
	linger    = 500 * time.Millisecond
)

// ErrStarted means that Run was called before.
var ErrStarted = errors.New("message: already started")

// Member is this daemon's place in the registry.
type Member interface {
	Set(registry.Info)             // what others are told
	Run(ctx context.Context) error // stays registered until ctx ends
	Leave(ctx context.Context) error
	Name() string // "" while it is not registered
}

// Deps is what message needs of the cluster.
type Deps struct {
	Member Member
	View   func() peer.ViewReply // the ring of comets as this daemon sees it; nil: it sees none
	Trust  *rpcnet.Trust         // who may call; nil: this machine
	Now    func() time.Time      // nil: wallclock.Now
	Clock  Clock                 // whether it is right; nil: nobody knows
}

// Server is one message daemon.
type Server struct {
	// Set by New, then read-only.
	cfg       Config // what Reload cannot change is compared with it
	member    Member
	shards    *shards
	service   *Service
	rpc       *rpcnet.Server
	listeners []net.Listener
	told      []string // addresses that others are told

	started atomic.Bool
}

// New checks cfg, reads its secrets, opens the stores and binds the listeners,
// so that a file in use and a taken port fail here. A Redis out of reach does
// not: Run waits for it. New starts no goroutine; after an error nothing is open.
func New(cfg Config, deps Deps) (_ *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, member: deps.Member}
	now := deps.Now
	if now == nil {
		now = wallclock.Now
	}
	pepper, err := cfg.pepper()
	if err != nil {
		return nil, fmt.Errorf("message: token.pepper_file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.listeners, s.told, err = cfg.RPC.Listen.Open("rpc"); err != nil {
		return nil, err
	}
	if s.shards, err = openShards(cfg, now); err != nil {
		return nil, err
	}
	s.service = &Service{shards: s.shards, timeout: cfg.RPC.Timeout.D(), now: now, view: deps.View, clock: deps.Clock}
	s.service.pepper.Store(&pepper)
	s.rpc = rpcnet.NewServer(rpcnet.ServerOptions{
		Trust: deps.Trust,
		Grace: cfg.RPC.Timeout.D() + time.Second, // no call takes longer
	})
	if err := s.rpc.Register("MessageRPC", s.service); err != nil {
		return nil, err
	}
	s.member.Set(registry.Info{RPC: s.told, Weight: cfg.Node.Weight})
	return s, nil
}

// close closes what is open. What Run serves it closes itself.
func (s *Server) close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.shards != nil {
		errs = append(errs, s.shards.close())
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends or a part fails. It registers once every store has
// answered. At the end it leaves the registry, serves for a moment those who
// have not heard of it, finishes the calls under way and closes the stores. It
// returns after its last goroutine has ended.
func (s *Server) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return ErrStarted
	}
	s.announce()
	// Two lives: what calls are served with ends after the membership has.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	work, wctx := errgroup.WithContext(serving)
	for _, l := range s.listeners {
		work.Go(func() error { return s.rpc.Serve(wctx, l) })
	}
	for _, h := range s.shards.all {
		work.Go(func() error { return h.watch(wctx) })
		work.Go(func() error { return h.tidy(wctx) })
	}

	membership, endMembership := context.WithCancel(ctx)
	defer endMembership()
	defer context.AfterFunc(wctx, endMembership)() // a part has failed
	var member errgroup.Group
	member.Go(func() error { return s.register(membership) })
	<-membership.Done()
	s.leave(context.WithoutCancel(ctx), wctx.Done())
	memberErr := member.Wait()

	endServing()
	err := errors.Join(work.Wait(), memberErr, s.close())
	glog.Infof("message: stopped addr=%v err=%v", s.RPCAddrs(), err)
	return err
}

func (s *Server) announce() {
	glog.Infof("message: serving addr=%v told=%v storage=%s shards=%d", s.RPCAddrs(), s.told, s.cfg.Storage.Type, len(s.shards.all))
	if s.cfg.Storage.Type != Embedded && s.cfg.Token.PepperFile == "" {
		glog.Warningf("message: token.pepper_file is not set: whoever reads the store can try out likely tokens")
	}
}

// register joins the others once the stores have answered.
func (s *Server) register(ctx context.Context) error {
	if s.shards.answered(ctx) != nil {
		return nil // ended before
	}
	return s.member.Run(ctx)
}

// leave takes the daemon out of the registry, and gives those who are about to
// call it the time to hear of it. failed cuts that short. A registry that is
// away loses nothing: it forgets the daemon by itself, and the others find out
// by their pings.
func (s *Server) leave(ctx context.Context, failed <-chan struct{}) {
	registered := s.member.Name() != ""
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	glog.Infof("message: draining addr=%v", s.RPCAddrs())
	if err := s.member.Leave(ctx); err != nil {
		glog.Warningf("message: still registered, until its session with the registry expires err=%q", err)
	}
	if registered {
		select {
		case <-time.After(linger):
		case <-failed:
		}
	}
}

// Reload takes over what may change while the daemon runs: weight, storage.store
// and the pepper. It changes all of it or, after an error, nothing, and returns
// the keys and sections that differ and need a restart.
func (s *Server) Reload(cfg Config) (restart []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	pepper, err := cfg.pepper()
	if err != nil {
		return nil, fmt.Errorf("message: token.pepper_file: %w", err)
	}
	s.service.pepper.Store(&pepper)
	for _, h := range s.shards.all {
		h.store.Keep(cfg.keep())
	}
	s.member.Set(registry.Info{RPC: s.told, Weight: cfg.Node.Weight})
	return s.cfg.restart(cfg), nil
}

// RPCAddrs returns the addresses that it listens on.
func (s *Server) RPCAddrs() []string {
	addrs := make([]string, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr().String()
	}
	return addrs
}

// Ready returns nil when every store answers and the daemon is registered.
func (s *Server) Ready(context.Context) error {
	if err := s.shards.down(); err != nil {
		return err
	}
	if s.member.Name() == "" {
		return errors.New("message: not registered")
	}
	return nil
}
