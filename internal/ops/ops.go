package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/version"
)

const (
	// readyTimeout is how long the daemon may take to say whether it is ready.
	readyTimeout = 2 * time.Second
	// closeTimeout is how long requests may take to finish when Run ends.
	closeTimeout = time.Second
)

// Options says where to listen and what to tell.
type Options struct {
	Stat  []string // addresses of /stat, /healthz and /readyz; may be empty
	Pprof []string // addresses of /debug/pprof/; may be empty
	// Numbers returns what /stat shows after the version and the start, as a JSON
	// object. It is called concurrently.
	Numbers func() any
	// Ready returns nil when the daemon can do its work, otherwise why not.
	Ready func(context.Context) error
}

// Server answers the operators.
type Server struct {
	stat, pprof []net.Listener
	statHandler http.Handler
}

// New binds the addresses; it serves nothing before Run. After an error
// nothing is open.
func New(opts Options) (*Server, error) {
	s := &Server{statHandler: statMux(opts)}
	for _, p := range []struct {
		section string
		addrs   []string
		into    *[]net.Listener
	}{{"stat", opts.Stat, &s.stat}, {"pprof", opts.Pprof, &s.pprof}} {
		var err error
		if *p.into, err = bind(p.section, p.addrs); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// bind listens, on loopback only: what these ports tell is not for others.
func bind(section string, addrs []string) ([]net.Listener, error) {
	for _, addr := range addrs {
		if !config.Loopback(addr) {
			return nil, fmt.Errorf("%s.bind = %q: want a loopback address", section, addr)
		}
	}
	return config.Bind(section, addrs)
}

func (s *Server) close() {
	for _, l := range append(s.stat, s.pprof...) {
		l.Close()
	}
}

// StatAddrs returns the addresses of /stat, with the ports that were bound.
func (s *Server) StatAddrs() []string { return addrs(s.stat) }

// PprofAddrs returns the addresses of /debug/pprof/.
func (s *Server) PprofAddrs() []string { return addrs(s.pprof) }

func addrs(ls []net.Listener) []string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = l.Addr().String()
	}
	return out
}

// Run serves until ctx ends or a listener fails. It returns after its last
// goroutine. A server that has no port to serve still runs until ctx ends: to
// the daemon a part that returns is a part that has ended.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := func(l net.Listener, h http.Handler) {
		srv := &http.Server{
			Handler:           localOnly(h),
			ReadHeaderTimeout: 5 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          glog.NewStandardLogger("WARNING"),
		}
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("ops: %s: %w", l.Addr(), err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			if srv.Shutdown(late) != nil { // a profile may run for minutes; nobody waits for it
				srv.Close()
			}
			return nil
		})
	}
	g.Go(func() error { // also where nothing is served
		<-ctx.Done()
		return nil
	})
	for _, l := range s.stat {
		serve(l, s.statHandler)
	}
	for _, l := range s.pprof {
		serve(l, pprofMux())
	}
	return g.Wait()
}

func statMux(opts Options) http.Handler {
	about := about{Version: version.String(), Started: time.Now().UTC().Truncate(time.Second)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stat", func(w http.ResponseWriter, _ *http.Request) {
		body, err := encode(about, opts.Numbers())
		if err != nil {
			glog.Errorf("ops: /stat cannot be encoded err=%q", err)
			http.Error(w, "the numbers cannot be encoded", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(body)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "alive")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := opts.Ready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	return mux
}

// about is what every /stat begins with. Counts are since Started.
type about struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
}

// encode returns one object with what two others hold, for people to read.
func encode(a about, numbers any) ([]byte, error) {
	head, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	rest, err := json.Marshal(numbers)
	if err != nil {
		return nil, err
	}
	if len(rest) > len("{}") {
		head = append(append(head[:len(head)-1], ','), rest[1:]...)
	}
	var b bytes.Buffer
	err = json.Indent(&b, append(head, '\n'), "", "  ")
	return b.Bytes(), err
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

func pprofMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// localOnly refuses requests for a name that is not loopback: a page whose
// name was pointed at 127.0.0.1 comes with its own.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.Loopback(r.Host) {
			answer(w, http.StatusForbidden, "want a loopback name in Host, such as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}
