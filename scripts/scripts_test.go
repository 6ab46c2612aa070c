// Package scripts is shell. Its test runs what starts a cluster.
package scripts

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopush-cluster/internal/testenv"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testenv.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// scripts runs them in a folder of its own, on ports of its own.
type scripts struct {
	t   *testing.T
	dir string
	env []string
}

func newScripts(t *testing.T) *scripts {
	s := &scripts{t: t, dir: t.TempDir()}
	s.env = append(os.Environ(),
		"RUN_DIR="+s.dir, "BIN="+testenv.Binaries(t), "XDG_STATE_HOME="+t.TempDir(),
		fmt.Sprintf("ZOOKEEPER_PORT=%d", testenv.FreePort(t)),
		fmt.Sprintf("REDIS1_PORT=%d", testenv.FreePort(t)),
		fmt.Sprintf("REDIS2_PORT=%d", testenv.FreePort(t)),
		// Below the ports that the system hands out, and not where the daemons'
		// own defaults are: a cluster may be running on this machine.
		"PORT_SHIFT=5000")
	return s
}

// run runs a command line from the top folder and returns what it printed.
func (s *scripts) run(line string) (string, error) {
	c := exec.CommandContext(s.t.Context(), "bash", "-c", line)
	c.Dir, c.Env = "..", s.env
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s *scripts) must(line string) string {
	s.t.Helper()
	out, err := s.run(line)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

func TestCluster(t *testing.T) {
	s := newScripts(t)
	t.Cleanup(func() {
		c := exec.Command("scripts/cluster.sh", "down")
		c.Dir, c.Env = "..", s.env
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	up := s.must("scripts/cluster.sh up")
	if again := s.must("scripts/cluster.sh up"); len(pids(up)) != 10 || !maps.Equal(pids(again), pids(up)) {
		t.Errorf("up was repeated and is not as it was:\n%s\n%s", up, again)
	}
	for name, pid := range pids(up) {
		// As it stands in kill $(cat FILE).
		if file, err := os.ReadFile(filepath.Join(s.dir, name+".pid")); err != nil || string(file) != pid+"\n" {
			t.Errorf("%s.pid holds %q (%v), want %s alone", name, file, err, pid)
		}
	}
	// The lines that it prints do what they say, through Nginx.
	var typed []string
	for line := range strings.Lines(up) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			typed = append(typed, strings.TrimSpace(command))
		}
	}
	if len(typed) != 3 {
		t.Fatalf("up says to type %q, want nodes, sub and push", typed)
	}
	nodes, sub, push := typed[0], typed[1], typed[2]
	if out := s.must(nodes); strings.Count(out, " alive ") != 2 {
		t.Errorf("%s\nshows not two that are alive:\n%s", nodes, out)
	}
	s.must(push)
	if out := s.must(sub + " -n 1"); !strings.Contains(out, `{"hello":"cluster"}`) {
		t.Errorf("%s\nshows %q", sub, out)
	}
	// Nginx is in front: clients are sent to it, and it lets no token in.
	for _, want := range []string{":13101", ":13201"} {
		if out := s.must(nodes); !strings.Contains(out, want) {
			t.Errorf("%s\ndoes not show Nginx's port %s:\n%s", nodes, want, out)
		}
	}
	for path, want := range map[string]int{"/1/time/get": http.StatusOK, "/1/token/add?k=alice&t=0": http.StatusForbidden} {
		res, err := http.Get("http://localhost:13000" + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s through Nginx: %s, want %d", path, res.Status, want)
		}
	}
	// Both shards are in use: they hold something of sixteen keys each.
	for i := range 16 {
		s.must(strings.Replace(push, "alice", fmt.Sprintf("key-%d", i), 1))
	}
	for _, port := range []string{"$REDIS1_PORT", "$REDIS2_PORT"} {
		if size := strings.TrimSpace(s.must("redis-cli -p " + port + " dbsize")); size == "0" {
			t.Errorf("the Redis at %s holds nothing", port)
		}
	}

	s.must("scripts/cluster.sh down")
	out, err := s.run("scripts/cluster.sh status")
	if err == nil || strings.Contains(out, " up ") {
		t.Errorf("status after down = %v\n%s", err, out)
	}
}

// pids returns the pid of each process that the status shows as up.
func pids(status string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "pid" {
			all[f[0]] = f[3]
		}
	}
	return all
}

// A pid file that was left behind names a process of somebody else by now.
func TestDownEndsNobodyElse(t *testing.T) {
	s := newScripts(t)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stranger.Process.Kill()
		if err := stranger.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Errorf("the stranger ended with %v, want killed by the test", err)
		}
	}()
	left := map[string]string{".pid": fmt.Sprintln(stranger.Process.Pid), ".started": "1\n"}
	for _, name := range []string{"redis1", "zookeeper"} {
		for suffix, text := range left {
			if err := os.WriteFile(filepath.Join(s.dir, name+suffix), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.must("scripts/services.sh down")
}

func TestPortTaken(t *testing.T) {
	s := newScripts(t)
	r := testenv.Redis(t)
	_, port, _ := strings.Cut(r.Addr(), ":")
	s.env = append(s.env, "REDIS2_PORT="+port)
	defer s.must("scripts/services.sh down")
	out, err := s.run("scripts/services.sh up")
	if err == nil || !strings.Contains(out, "port "+port+", wanted for redis2, is taken by another program") || !strings.Contains(out, "REDIS2_PORT=PORT") {
		t.Errorf("up = %v\n%s\nwant an error that names the port and the knob", err, out)
	}
}

// A cluster whose port is taken starts nothing, no service either.
func TestClusterPortTaken(t *testing.T) {
	s := newScripts(t)
	defer s.must("scripts/cluster.sh down")
	l, err := net.Listen("tcp", "127.0.0.1:11969") // comet1's, PORT_SHIFT above its default
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	out, err := s.run("scripts/cluster.sh up")
	if err == nil || !strings.Contains(out, "port 11969, wanted for comet1, is taken by another program") || !strings.Contains(out, "PORT_SHIFT=") {
		t.Errorf("up = %v\n%s\nwant an error that names the port and the knob", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.pid")); len(left) > 0 {
		t.Errorf("up failed, and %v were started", left)
	}
}

// TestMutantsApply: a patch that no longer fits would find nothing.
func TestMutantsApply(t *testing.T) {
	patches, err := filepath.Glob("mutants/*.patch")
	if err != nil || len(patches) < 8 {
		t.Fatalf("patches %q, %v", patches, err)
	}
	for _, patch := range patches {
		c := exec.CommandContext(t.Context(), "git", "apply", "--check", filepath.Join("scripts", patch))
		c.Dir = ".."
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s no longer fits: %v\n%s", patch, err, out)
		}
		b, err := os.ReadFile(patch)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "\nfinds: ") {
			t.Errorf("%s does not say what is to be found", patch)
		}
	}
}
