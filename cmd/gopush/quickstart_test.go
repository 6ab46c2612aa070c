package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gopush-cluster/cmd/internal/assemble"
	"gopush-cluster/internal/testenv"
)

func TestMain(m *testing.M) {
	glogs := goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon")
	goleak.VerifyTestMain(m, glogs, goleak.Cleanup(func(code int) {
		if err := testenv.RemoveBinaries(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// What standalone says to type next is what README and the quick start say.
func TestWelcomeIsInTheDocs(t *testing.T) {
	said := commands(welcome("bin/gopush", "data", assemble.Addresses{HTTP: []string{"127.0.0.1:8090"}, Admin: []string{"127.0.0.1:8091"}}))
	if len(said) != 2 {
		t.Fatalf("standalone says %q, want two commands", said)
	}
	for _, file := range []string{"../../README.md", "../../docs/quickstart.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range said {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s does not have the line %s", file, line)
			}
		}
	}
}

// commands returns the indented lines of a text.
func commands(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			lines = append(lines, strings.TrimSpace(command))
		}
	}
	return lines
}

// The newcomer's first minute, as the process itself says it goes; then what the
// README promises: what was pushed while nobody listened arrives, just that and in
// order, also after a kill -9.
func TestQuickStart(t *testing.T) {
	dir := t.TempDir()
	addr := func() string { return testenv.FreeAddr(t) }
	config := fmt.Sprintf("comet.tcp.bind = [%q]\ncomet.websocket.bind = [%q]\ncomet.rpc.bind = [%q]\ncomet.stat.bind = []\ncomet.pprof.bind = []\n"+
		"web.http.bind = [%q]\nweb.admin.bind = [%q]\nweb.stat.bind = []\nweb.pprof.bind = []\n"+
		"message.rpc.bind = [%q]\nmessage.stat.bind = []\nmessage.pprof.bind = []\n", addr(), addr(), addr(), addr(), addr(), addr())
	if err := os.WriteFile(filepath.Join(dir, "c.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var p *testenv.Process
	starts := 0
	said := func() error {
		if n := strings.Count(p.Output(), "Ctrl-C ends it"); n < starts {
			return fmt.Errorf("standalone was started %d times and was ready %d times", starts, n)
		}
		return nil
	}
	start := func() {
		starts++
		p.Start()
	}
	p = testenv.Command{
		Name:  "standalone",
		Args:  []string{testenv.Binary(t, "gopush"), "standalone", "-c", "c.toml"},
		Dir:   dir,
		Ready: said,
	}.New(t)
	start()
	typed := commands(p.Output())
	sub, push := typed[0], typed[1]

	// A second terminal subscribes, a third pushes.
	subscriber := startShell(t, dir, sub)
	subscriber.wait("is subscribed at")
	if got := shell(t, dir, push); got != "1 message stored for alice, kept for 24h\n" {
		t.Fatalf("%s\nsaid %q", push, got)
	}
	subscriber.wait(`{"hello":"world"}` + "\n")
	if code := subscriber.interrupt(); code != 0 {
		t.Fatalf("sub ended with %d after Ctrl-C, want 0", code)
	}

	three := strings.Replace(push, `'{"hello":"world"}'`, `'"one"' '"two"' '"three"'`, 1)
	shell(t, dir, three)
	p.Kill()
	start()
	if got, want := shell(t, dir, sub+" -n 3"), "\"one\"\n\"two\"\n\"three\"\n"; got != want {
		t.Fatalf("after a kill -9 sub shows %q, want %q", got, want)
	}
	if code := p.Stop(); code != 0 {
		t.Fatalf("standalone ended with %d after SIGTERM, want 0", code)
	}
	info, err := os.Stat(filepath.Join(dir, "data", "log"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the folder of the log: %v %v, want 0700", info, err)
	}
}

// shell runs a line and returns what it printed.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	c := command(t, dir, line)
	var errOut bytes.Buffer
	c.Stderr = &errOut
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, errOut.String())
	}
	return string(out)
}

func command(t *testing.T, dir, line string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)
	c.Dir = dir
	c.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	return c
}

// terminal is a line that is running; what it prints goes to a file.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	path string
}

func startShell(t *testing.T, dir, line string) *terminal {
	t.Helper()
	s := &terminal{t: t, cmd: command(t, dir, line), path: filepath.Join(t.TempDir(), "terminal")}
	f, err := os.Create(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.cmd.Stdout, s.cmd.Stderr = f, f
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// wait waits until the terminal shows text.
func (s *terminal) wait(text string) {
	s.t.Helper()
	testenv.Eventually(s.t, 10*time.Second, func() error {
		shown, err := os.ReadFile(s.path)
		if err == nil && !bytes.Contains(shown, []byte(text)) {
			err = fmt.Errorf("the terminal shows %q, not %q", shown, text)
		}
		return err
	})
}

// interrupt presses Ctrl-C and returns the exit code.
func (s *terminal) interrupt() int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait() // an exit code other than 0 is the answer, not a failure to wait
	return s.cmd.ProcessState.ExitCode()
}
