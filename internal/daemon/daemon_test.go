package daemon

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/golang/glog"

	"gopush-cluster/internal/config"
)

var errBadConfig = func() error {
	var p config.Problems
	p.Between("channel.msgbuf", 0, 1, 65536, "remove the line for the default, 128")
	return p.Err()
}()

func TestExitCodes(t *testing.T) {
	keepFlags(t)
	fine := func(context.Context, string, <-chan struct{}) error { return nil }
	failing := func(err error) func(context.Context, string, <-chan struct{}) error {
		return func(context.Context, string, <-chan struct{}) error { return err }
	}
	good := func(string) error { return nil }
	bad := func(string) error { return errBadConfig }
	tests := []struct {
		name           string
		args           []string
		check          func(string) error
		run            func(context.Context, string, <-chan struct{}) error
		code           int
		stdout, stderr string // parts of what is printed
	}{
		{"clean", nil, good, fine, 0, "", ""},
		{"failure", nil, good, failing(errors.New("port taken")), 1, "", "comet: port taken"},
		{"bad configuration", nil, bad, nil, 2, "", "channel.msgbuf = 0: want 1..65536"},
		{"configuration found bad while running", nil, good, failing(errBadConfig), 2, "", "channel.msgbuf = 0"},
		{"check good", []string{"-check-config"}, good, nil, 0, "ok\n", ""},
		{"check bad", []string{"-check-config"}, bad, nil, 2, "", "remove the line for the default, 128"},
		{"version", []string{"-version"}, nil, nil, 0, "comet ", ""},
		{"help", []string{"-h"}, nil, nil, 0, "", "-check-config"},
		{"unknown flag", []string{"-confg", "x"}, nil, nil, 2, "", "not defined: -confg"},
		{"argument", []string{"comet.toml"}, nil, nil, 2, "", `unexpected argument "comet.toml"; the configuration is given with -c`},
		{"glog's flags are known", []string{"-v=1", "-logtostderr"}, good, fine, 0, "", ""},
		{"glog's flags are checked", []string{"-v=loud"}, nil, nil, 2, "", "invalid value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := Program{Name: "comet", Check: tt.check, Run: tt.run}
			code := run(p, tt.args, process{stdout: &stdout, stderr: &stderr})
			if code != tt.code {
				t.Errorf("exit code = %d, want %d", code, tt.code)
			}
			if !strings.Contains(stdout.String(), tt.stdout) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("stdout = %q, want %q", stdout.String(), tt.stdout)
			}
			if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr = %q, want %q", stderr.String(), tt.stderr)
			}
		})
	}
}

func TestTasks(t *testing.T) {
	keepFlags(t)
	for _, tt := range []struct {
		name  string
		args  []string
		check error
		do    error
		code  int
		did   string // the file that the task was given; "": it was not done
	}{
		{"done", []string{"-prepare", "-c", "f"}, nil, nil, 0, "f"},
		{"failed", []string{"-prepare", "-c", "f"}, nil, errors.New("no room"), 1, "f"},
		{"nothing for this configuration", []string{"-prepare", "-c", "f"}, nil, errBadConfig, 2, "f"},
		{"bad configuration", []string{"-prepare", "-c", "f"}, errBadConfig, nil, 2, ""},
		{"only checked", []string{"-prepare", "-check-config", "-c", "f"}, nil, nil, 0, ""},
		{"not asked for", []string{"-c", "f"}, nil, nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var did, ran string
			p := Program{
				Name:  "message",
				Check: func(string) error { return tt.check },
				Run:   func(_ context.Context, path string, _ <-chan struct{}) error { ran = path; return nil },
				Tasks: []Task{{"prepare", "get ready", func(_ context.Context, path string, out io.Writer) error {
					did = path
					fmt.Fprintln(out, "prepared")
					return tt.do
				}}},
			}
			var stdout, stderr bytes.Buffer
			code := run(p, tt.args, process{stdout: &stdout, stderr: &stderr})
			if code != tt.code || did != tt.did || (ran != "") != (tt.name == "not asked for") {
				t.Errorf("code %d, did %q, ran %q; want %d, %q\n%s", code, did, ran, tt.code, tt.did, stderr.String())
			}
			if tt.did != "" && stdout.String() != "prepared\n" {
				t.Errorf("stdout = %q", stdout.String())
			}
		})
	}
}

func TestConfigPath(t *testing.T) {
	keepFlags(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "conf/web.toml"},
		{[]string{"-c", "/etc/web.toml"}, "/etc/web.toml"},
	} {
		var checked, ran string
		p := Program{
			Name:  "web",
			Check: func(path string) error { checked = path; return nil },
			Run:   func(_ context.Context, path string, _ <-chan struct{}) error { ran = path; return nil },
		}
		if code := run(p, tt.args, process{}); code != 0 || checked != tt.want || ran != tt.want {
			t.Errorf("run(%q) = %d, checked %q, ran %q; want both %q", tt.args, code, checked, ran, tt.want)
		}
	}
}

func TestSignals(t *testing.T) {
	keepFlags(t)
	signals := make(chan os.Signal)
	reloaded, drain := make(chan struct{}), make(chan struct{})
	waiting := make(chan int, 1)
	p := Program{
		Name:  "comet",
		Check: func(string) error { return nil },
		Run: func(ctx context.Context, _ string, reload <-chan struct{}) error {
			<-reload
			reloaded <- struct{}{}
			<-ctx.Done()
			waiting <- len(reload)
			<-drain
			return nil
		},
	}
	code := make(chan int, 1)
	go func() { code <- run(p, nil, process{stderr: new(bytes.Buffer), signals: signals}) }()
	signals <- syscall.SIGHUP
	<-reloaded
	for range 3 {
		signals <- syscall.SIGHUP
	}
	signals <- syscall.SIGTERM
	if n := <-waiting; n != 1 {
		t.Errorf("three SIGHUPs in a row left %d reloads waiting, want 1", n)
	}
	select {
	case c := <-code:
		t.Fatalf("ended with %d before Run did", c)
	default:
	}
	close(drain)
	if c := <-code; c != 0 {
		t.Errorf("exit code = %d after a drain, want 0", c)
	}
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	keepFlags(t)
	signals := make(chan os.Signal)
	drain := make(chan struct{})
	ended := make(chan struct{})
	p := Program{
		Name:  "comet",
		Check: func(string) error { return nil },
		Run: func(ctx context.Context, _ string, _ <-chan struct{}) error {
			defer close(ended)
			<-ctx.Done()
			<-drain
			return nil
		},
	}
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(p, nil, process{stderr: &stderr, signals: signals}) }()
	signals <- syscall.SIGTERM
	signals <- syscall.SIGINT
	if c := <-code; c != 1 || !strings.Contains(stderr.String(), "second signal") {
		t.Errorf("exit code = %d, stderr %q; want 1 and the reason", c, stderr.String())
	}
	close(drain)
	<-ended
}

func TestSuperviseListensToTheProcess(t *testing.T) {
	reloaded := errors.New("reloaded")
	signals, stop := listen()
	defer stop()
	err := supervise("comet", signals, func(ctx context.Context, reload <-chan struct{}) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			return err
		}
		<-reload
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return reloaded
	})
	if !errors.Is(err, reloaded) || exitCode(err) != 1 || exitCode(nil) != 0 || exitCode(errBadConfig) != 2 {
		t.Errorf("supervise = %v, want what run returned", err)
	}
}

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "comet.pid")
	if err := os.WriteFile(path, []byte("999999999 left behind\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	remove, err := pidFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != strconv.Itoa(os.Getpid())+"\n" {
		t.Errorf("pid file holds %q (%v), want our pid", got, err)
	}
	if _, err := pidFile(path); err == nil || !strings.Contains(err.Error(), "another daemon holds it") {
		t.Errorf("a second daemon = %v, want it refused", err)
	}
	remove()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after remove: %v, want no file", err)
	}
	if _, err := pidFile(filepath.Join(path, "none", "x")); err == nil {
		t.Error("pidFile in no folder = nil, want an error")
	}
}

func TestVerbosityIsTheHigherOfFlagAndFile(t *testing.T) {
	keepFlags(t)
	p := Program{
		Name:  "comet",
		Check: func(string) error { return nil },
		Run: func(context.Context, string, <-chan struct{}) error {
			for _, tt := range []struct{ file, want int }{{0, 1}, {2, 2}, {0, 1}} {
				if err := SetVerbosity(tt.file); err != nil {
					return err
				}
				if got := glog.V(glog.Level(tt.want)) && !glog.V(glog.Level(tt.want+1)); !got {
					t.Errorf("after SetVerbosity(%d): glog's level is %s, want %d", tt.file, flag.Lookup("v").Value, tt.want)
				}
			}
			return nil
		},
	}
	if code := run(p, []string{"-v=1"}, process{stderr: new(bytes.Buffer)}); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

func TestLogFolderIsForItsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	keepFlags(t)
	if err := flag.Set("log_dir", dir); err != nil {
		t.Fatal(err)
	}
	if err := (options{given: map[string]bool{"log_dir": true}}).logging(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("log folder: %v, %v; want mode 0700", info, err)
	}
}

func TestLogFilesAreWrittenAtOnce(t *testing.T) {
	keepFlags(t)
	if err := flag.Set("log_dir", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	level := flag.Lookup("logbuflevel").Value
	if err := (options{given: map[string]bool{"log_dir": true}}).logging(); err != nil || level.String() != "-1" {
		t.Errorf("-logbuflevel is %s, %v; want -1", level, err)
	}
	if err := level.Set("0"); err != nil {
		t.Fatal(err)
	}
	if err := (options{given: map[string]bool{"log_dir": true, "logbuflevel": true}}).logging(); err != nil || level.String() != "0" {
		t.Errorf("-logbuflevel=0 became %s, %v", level, err)
	}
}

// keepFlags puts glog's flags back at the end of a test.
func keepFlags(t *testing.T) {
	flag.VisitAll(func(f *flag.Flag) {
		value, def := f.Value.String(), f.DefValue
		if strings.HasPrefix(f.Name, "test.") || f.Name == "log_backtrace_at" {
			return
		}
		t.Cleanup(func() {
			f.DefValue = def
			if err := f.Value.Set(value); err != nil {
				t.Errorf("flag %s: %v", f.Name, err)
			}
		})
	})
}
