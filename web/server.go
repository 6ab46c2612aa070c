package web

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/wallclock"
)

// ErrStarted means that Run was called before.
var ErrStarted = errors.New("web: already started")

// Directory knows which comet holds a key.
type Directory interface {
	// Await waits until the ring has been read once. The error says that it was
	// not when ctx ended.
	Await(ctx context.Context) error
	// Lookup returns the ring's node for key, false when the ring is empty.
	Lookup(key string) (registry.Node, bool)
	// Comet returns a client of the comet that serves key. An error means that
	// nobody can be called.
	Comet(key string) (*peer.Comet, error)
	// Node returns a client of the comet that serves the ring's node of that
	// name, false when there is no such node.
	Node(name string) (*peer.Comet, bool)
	// Ready returns nil when the ring is known and a message daemon answers.
	Ready() error
	// Snapshot returns the ring's nodes as they were last read, and the epoch.
	Snapshot() registry.Snapshot
	// Shares returns node → its part of all keys, 0..1.
	Shares() map[string]float64
	// Pinged reports whether the comet of a node answered the last ping, and
	// when one was last answered; the zero time: never.
	Pinged(node string) (alive bool, seen time.Time)
	// Changed returns a channel that is closed at the next change of the ring.
	Changed() <-chan struct{}
}

// Messages is the message daemons as one. Errors are those of peer.Message,
// after a call that failed was tried elsewhere where that is safe.
type Messages interface {
	Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error)
	Read(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error)
	TokenAdd(ctx context.Context, args peer.TokenArgs) error
	TokenCheck(ctx context.Context, args peer.TokenArgs) (peer.TokenReply, error)
	Delete(ctx context.Context, key string) error
	// Pending returns keys that had a message saved without their comet, at
	// most limit of each shard; Settle says that their comets know by now.
	Pending(ctx context.Context, limit int) ([]peer.PendingKey, error)
	Settle(ctx context.Context, keys []peer.PendingKey) error
}

// Deps is what web needs of the cluster.
type Deps struct {
	Directory Directory
	Messages  Messages
	Registry  Registry               // where comets register; nil: this web changes nothing there
	Dial      func(addr string) Conn // to a comet's RPC; with Registry
	Now       func() time.Time       // nil: wallclock.Now
	Random    io.Reader              // nonces and chance; nil: crypto/rand
	ClockOff  func() time.Duration   // how far our clock is ahead of most daemons'; nil: nobody knows
}

// Server is one web daemon.
type Server struct {
	// Set by New, then read-only.
	dir       Directory
	stored    Messages
	reg       Registry // nil: nobody is reaped, nor told of the ring
	dial      func(addr string) Conn
	now       func() time.Time
	random    io.Reader
	clockOff  func() time.Duration // nil: nobody knows
	timeout   time.Duration        // of a call that is no push
	drainTime time.Duration
	ports     []port
	initial   Config // what Reload cannot change is compared with it
	count     *counters

	rules   atomic.Pointer[rules]
	started atomic.Bool
	failed  sparse // log lines about requests and pushes that failed
	refused sparse // log lines about what back-ends asked in the wrong way
}

// port is one listener and what serves it.
type port struct {
	listener net.Listener
	server   *http.Server
	admin    bool
}

// New checks cfg, reads its secrets and binds the listeners, so a taken port
// fails here and the addresses are known before Run. It starts no goroutine;
// after an error nothing is open.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rules, err := cfg.rules()
	if err != nil {
		return nil, err
	}
	s := &Server{
		dir:       deps.Directory,
		stored:    deps.Messages,
		reg:       deps.Registry,
		dial:      deps.Dial,
		now:       deps.Now,
		random:    deps.Random,
		clockOff:  deps.ClockOff,
		timeout:   cfg.RPC.Timeout.D(),
		drainTime: cfg.Drain.Timeout.D(),
		initial:   cfg,
		count:     newCounters(),
		failed:    sparse{log: glog.WarningDepthf},
		refused:   sparse{log: glog.InfoDepthf},
	}
	if s.now == nil {
		s.now = wallclock.Now
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	s.rules.Store(rules)
	err = s.bind("http", cfg.HTTP.Bind, s.route(public, false), false)
	if err == nil {
		err = s.bind("admin", cfg.Admin.Bind, s.route(internal, true), true)
	}
	if err != nil {
		for _, p := range s.ports {
			_ = p.listener.Close() // it has served nobody
		}
		return nil, err
	}
	return s, nil
}

// bind listens on addrs, which stand under bind in section.
func (s *Server) bind(section string, addrs []string, h http.Handler, admin bool) error {
	listeners, err := config.Bind(section, addrs)
	for _, l := range listeners {
		s.ports = append(s.ports, port{l, newHTTPServer(h), admin})
	}
	return err
}

// Run serves until ctx ends or a listener fails, then takes no more, finishes
// the requests under way within drain.timeout, and closes. It returns after its
// last goroutine has ended.
func (s *Server) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return ErrStarted
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.followPending(gctx) })
	if s.reg != nil {
		g.Go(func() error { return s.newReaper().run(gctx) })
		g.Go(func() error { return s.newMigration().run(gctx) })
	}
	for _, p := range s.ports {
		g.Go(func() error {
			glog.Infof("web: serving addr=%s admin=%t", p.listener.Addr(), p.admin)
			if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("web: %w", err)
			}
			return nil
		})
		g.Go(func() error { // gctx is over by then, so the drain sets its own end
			<-gctx.Done()
			return s.drain(context.WithoutCancel(ctx), p)
		})
	}
	return g.Wait()
}

func (s *Server) drain(ctx context.Context, p port) error {
	ctx, cancel := context.WithTimeout(ctx, s.drainTime)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("web: drain addr=%s: %w", p.listener.Addr(), err), p.server.Close())
}

// Reload takes over what may change while the daemon runs: secrets, networks
// and auth. It changes all of it or, after an error, nothing, and returns the
// keys that differ and need a restart.
func (s *Server) Reload(cfg Config) (restart []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rules, err := cfg.rules()
	if err != nil {
		return nil, err
	}
	s.rules.Store(rules)
	return s.initial.restart(cfg), nil
}

// Ready returns nil when web can do its work.
func (s *Server) Ready(context.Context) error { return s.dir.Ready() }

// HTTPAddrs returns the addresses of the public port.
func (s *Server) HTTPAddrs() []string { return s.addrs(false) }

// AdminAddrs returns the addresses of the internal port.
func (s *Server) AdminAddrs() []string { return s.addrs(true) }

// who names this web to people who look into a lock.
func (s *Server) who() string { return "web " + strings.Join(s.AdminAddrs(), ",") }

func (s *Server) addrs(admin bool) []string {
	var addrs []string
	for _, p := range s.ports {
		if p.admin == admin {
			addrs = append(addrs, p.listener.Addr().String())
		}
	}
	return addrs
}

// intn returns a number from 0 to n-1 by chance, 0 where chance fails.
func (s *Server) intn(n int) int {
	var b [8]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return 0
	}
	return int(binary.LittleEndian.Uint64(b[:]) % uint64(n))
}
