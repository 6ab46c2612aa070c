package comet

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/wallclock"
)

// ErrStarted means that Run was called twice.
var ErrStarted = errors.New("comet: already started")

// Ring is what comet knows of the ring.
type Ring interface {
	// Owns returns nil if the ring gives key to this comet's node and this
	// comet is the node's active one.
	Owns(key string) error
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
	// Told takes a ring that a web tells, and reports whether the ring here is
	// as new.
	Told(args peer.MigrateArgs) bool
}

// Member is this comet's entry in the registry.
type Member interface {
	// Run keeps it until ctx ends.
	Run(ctx context.Context) error
	// Set changes what others are told.
	Set(registry.Info)
	// Leave takes it away, and the place in the ring unless somebody stands by.
	Leave(ctx context.Context) error
	// Kept reports whether the place in the ring was kept for this comet from its
	// former life, and whether that is known yet.
	Kept() (kept, known bool)
	// Withdraw takes it away and leaves the place in the ring until keep.
	Withdraw(ctx context.Context, keep time.Time) error
}

// Deps are what a comet needs from outside.
type Deps struct {
	Ring     Ring
	Moves    Moves
	Peers    Peers
	Messages Messages
	Join     func(registry.Info) Member // called once, with the addresses to advertise
	Trust    *rpcnet.Trust              // who may call; nil: this machine
	Now      func() time.Time           // the clock of mids; nil: wallclock.Now
	Clock    Clock                      // whether it is right; nil: nobody knows
}

// Server is one comet.
type Server struct {
	// Set by New, then read-only.
	deps   Deps
	tcp    []net.Listener
	ws     []net.Listener
	rpcs   []net.Listener
	rpc    *rpcnet.Server
	info   registry.Info
	env    *env
	lanes  *lanes
	tokens *tokens
	pace   *pace
	intake *intake

	cfg       atomic.Pointer[Config] // New stores it, Reload replaces it
	started   atomic.Bool
	member    Member             // set by Run before anything is served
	stop      context.CancelFunc // ends Run; set by it before anything is served
	forGood   atomic.Bool        // whatever drain.keep says, the end gives the place up
	departing atomic.Bool        // from then on it is not ready
	draining  atomic.Bool        // from then on no key is ours
	called    atomic.Bool        // by a web, since followPeers last looked
	alone     atomic.Bool        // nobody is there: no key is ours
	stats     counters
	waits     peer.Waits // of pushes
	greeting  greetings
	sockets   sync.WaitGroup // goroutines of clients
	tasks     sync.WaitGroup // calls to other comets that nobody waits for
}

// New checks cfg and binds the listeners, so a taken port fails here and the
// addresses are known before Run. It starts no goroutine; after an error
// nothing is open.
func New(cfg Config, deps Deps) (_ *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = wallclock.Now
	}
	s := &Server{
		deps:   deps,
		rpc:    rpcnet.NewServer(rpcnet.ServerOptions{Trust: deps.Trust}),
		lanes:  newLanes(deps.Messages),
		tokens: newTokens(deps.Messages),
		pace:   newPace(cfg.Migrate.Rate),
		intake: newIntake(cfg.Migrate.Rate),
	}
	s.cfg.Store(&cfg)
	s.env = &env{
		table: newTable(cfg.Channel.Bucket), store: s.lanes, limits: s.limits, now: deps.Now, stats: &s.stats,
		trouble: rate.Sometimes{First: 1, Interval: time.Second},
		moves:   deps.Moves, forwards: newForwards(deps.Moves), owns: s.owns, handOver: s.handOver,
	}
	if err := s.rpc.Register("CometRPC", &Service{s}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.closeListeners()
		}
	}()
	for _, l := range []struct {
		section string
		cfg     config.Listen
		into    *[]net.Listener
		told    *[]string
	}{
		{"tcp", cfg.TCP, &s.tcp, &s.info.TCP},
		{"websocket", cfg.WebSocket.Listen, &s.ws, &s.info.WS},
		{"rpc", cfg.RPC.Listen, &s.rpcs, &s.info.RPC},
	} {
		if *l.into, *l.told, err = l.cfg.Open(l.section); err != nil {
			return nil, err
		}
	}
	s.info.Weight = cfg.ZooKeeper.Comet.Weight
	return s, nil
}

func (s *Server) limits() limits { return s.cfg.Load().limits() }

// Info returns what the registry tells others about this comet.
func (s *Server) Info() registry.Info { return s.info }

// Run serves until ctx ends or a part fails, then drains within drain.timeout.
// It returns after its last goroutine has ended.
func (s *Server) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return ErrStarted
	}
	web := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: commandTime,
		IdleTimeout:       commandTime,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(clientFaults{}, "", 0),
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				s.stats.accepts[overWebSocket].Add(1)
			}
		},
	}
	s.member = s.deps.Join(s.info)
	s.intake.begin(s.member.Kept, time.Now().Add(s.cfg.Load().Drain.Timeout.D()/2))
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	g, gctx := errgroup.WithContext(ctx)
	// The parts end one after the other, when drain says so.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	member, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	defer leave()
	for _, l := range s.tcp {
		g.Go(func() error { return s.serveTCP(gctx, l) })
	}
	for _, l := range s.ws {
		g.Go(func() error {
			if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	for _, l := range s.rpcs {
		g.Go(func() error { return s.rpc.Serve(serving, l) })
	}
	g.Go(func() error { s.lanes.follow(serving); return nil })
	g.Go(func() error { return s.followRing(serving) })
	g.Go(func() error { return s.followPeers(gctx) })
	g.Go(func() error { return s.member.Run(member) })
	glog.Infof("comet: serving node=%s tcp=%v websocket=%v rpc=%v", s.cfg.Load().ZooKeeper.Comet.Node, s.info.TCP, s.info.WS, s.info.RPC)
	g.Go(func() error {
		<-gctx.Done()
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Load().Drain.Timeout.D())
		defer cancel()
		err := s.drain(dctx, leave, web)
		stopServing()
		return err
	})
	err := g.Wait()
	s.sockets.Wait()
	s.lanes.close()
	s.env.forwards.close()
	s.tasks.Wait()
	glog.Infof("comet: stopped sessions=%d", s.stats.open())
	return err
}

// Reload takes over what may change while comet runs. It changes all of it or,
// after an error, nothing, and returns the keys that differ and need a restart.
func (s *Server) Reload(cfg Config) (restart []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	next := *s.cfg.Load()
	next.Channel.MaxSubscriber = cfg.Channel.MaxSubscriber
	next.Channel.MsgBuf = cfg.Channel.MsgBuf
	next.Channel.Auth = cfg.Channel.Auth
	next.WebSocket.Origins = cfg.WebSocket.Origins
	next.RPC.Trust = cfg.RPC.Trust // whoever made it follows the file
	next.Outbuf, next.Legacy, next.Migrate, next.Drain, next.Log = cfg.Outbuf, cfg.Legacy, cfg.Migrate, cfg.Drain, cfg.Log
	s.cfg.Store(&next)
	s.pace.set(next.Migrate.Rate)
	s.intake.set(next.Migrate.Rate)
	return config.Diff(next, cfg), nil
}

// Ready returns nil if comet can do its work: it serves, and the store's shards
// are known.
func (s *Server) Ready(context.Context) error {
	switch {
	case s.departing.Load():
		return errors.New("comet: draining")
	case s.alone.Load():
		return errors.New("comet: cut off from ZooKeeper and from all other daemons")
	case !s.lanes.known.Load():
		return errors.New("comet: no message daemon has told the shards of the store yet")
	}
	return nil
}

// Stat returns the figures for /stat.
func (s *Server) Stat() any {
	st := s.stats.stat()
	st.Channels = s.env.table.len()
	if s.deps.Clock != nil {
		st.ClockOff = s.deps.Clock.Off().Milliseconds()
	}
	return st
}

func (s *Server) closeListeners() {
	for _, l := range [][]net.Listener{s.tcp, s.ws, s.rpcs} {
		for _, l := range l {
			l.Close()
		}
	}
}
