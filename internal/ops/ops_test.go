package ops

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/version"
)

type numbers struct {
	Sessions int `json:"sessions"`
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return s
}

func get(t *testing.T, method, addr, path, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	var mu sync.Mutex
	ready := errors.New("waiting for zookeeper localhost:2181")
	s := start(t, Options{
		Stat:    []string{"127.0.0.1:0"},
		Pprof:   []string{"localhost:0"},
		Numbers: func() any { return numbers{Sessions: 3} },
		Ready: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return ready
		},
	})
	stat, prof := s.StatAddrs()[0], s.PprofAddrs()[0]
	tests := []struct {
		name, method, addr, path, host string
		status                         int
		body                           string // a part of it
	}{
		{"numbers", "GET", stat, "/stat", "", 200, `"sessions": 3`},
		{"alive", "GET", stat, "/healthz", "", 200, "alive"},
		{"not ready", "GET", stat, "/readyz", "", 503, "waiting for zookeeper localhost:2181"},
		{"wrong method", "POST", stat, "/stat", "", 405, ""},
		{"no profile beside the numbers", "GET", stat, "/debug/pprof/", "", 404, ""},
		{"profiles", "GET", prof, "/debug/pprof/", "", 200, "goroutine"},
		{"a profile", "GET", prof, "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"through a tunnel", "GET", stat, "/healthz", "localhost:7000", 200, "alive"},
		{"a name that was pointed here", "GET", stat, "/stat", "evil.example:6972", 403, "loopback"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := get(t, tt.method, tt.addr, tt.path, tt.host)
			if status != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%s %s = %d %q, want %d with %q", tt.method, tt.path, status, body, tt.status, tt.body)
			}
		})
	}
	mu.Lock()
	ready = nil
	mu.Unlock()
	if status, body := get(t, "GET", stat, "/readyz", ""); status != 200 || body != "ready\n" {
		t.Errorf("/readyz once ready = %d %q, want 200 ready", status, body)
	}
	var told struct {
		Version string
		Started time.Time
		numbers
	}
	_, body := get(t, "GET", stat, "/stat", "")
	if err := json.Unmarshal([]byte(body), &told); err != nil || told.Version != version.String() ||
		time.Since(told.Started).Abs() > time.Hour || told.Sessions != 3 || !strings.HasPrefix(body, "{\n  \"version\"") {
		t.Errorf("/stat = %q (%v), want the version, the start and the numbers", body, err)
	}
}

func TestReadyIsBounded(t *testing.T) {
	s := start(t, Options{
		Stat: []string{"127.0.0.1:0"},
		Ready: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	})
	if status, body := get(t, "GET", s.StatAddrs()[0], "/readyz", ""); status != 503 || !strings.Contains(body, "deadline") {
		t.Errorf("/readyz of a hung daemon = %d %q, want 503", status, body)
	}
}

// An empty stat.bind and pprof.bind switch the ports off, not the daemon: what
// runs beside Run would be ended with it.
func TestRunWithoutPortsLastsUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Run(ctx) }()
		synctest.Wait()
		select {
		case err := <-over:
			t.Fatalf("Run = %v while its context lives", err)
		default:
		}
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	taken := start(t, Options{Stat: []string{"127.0.0.1:0"}}).StatAddrs()[0]
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"beyond loopback", Options{Stat: []string{"0.0.0.0:0"}}, `stat.bind = "0.0.0.0:0": want a loopback address`},
		{"taken", Options{Stat: []string{"127.0.0.1:0"}, Pprof: []string{taken}}, `pprof.bind = "` + taken + `": address already in use; stop`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
}
