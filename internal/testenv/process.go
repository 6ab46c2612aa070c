package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 30 * time.Second // the machine may be busy: a JVM under load takes its time
	exitTimeout  = 20 * time.Second
	shownOutput  = 16 << 10 // bytes of a process's output that a failed test prints

	// A program with the race detector sleeps for a second before it exits, so
	// that others may still report. This long is enough for most.
	raceExit = "GORACE=atexit_sleep_ms=20"
)

// Command is a program that a test runs.
type Command struct {
	Name string   // for messages and the log file
	Args []string // program and arguments
	Dir  string   // working directory, and where the output is kept; "": a new temporary folder
	Env  []string // added to the environment of the test
	// Ready returns nil as soon as the program does its work. It is asked until
	// then; nil: ready once started.
	Ready func() error
}

// Process is a program that runs, or ran, as a process group of its own. It is
// killed when the test ends.
type Process struct {
	t    testing.TB
	cmd  Command
	path string // of the output

	run *run // the newest; nil before the first Start
}

// run is one life of a Process.
type run struct {
	pid  int
	done chan struct{} // closed when the process has ended
	code int           // exit code, or -1 after a signal; valid after done
}

// New prepares c without starting it.
func (c Command) New(t testing.TB) *Process {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	p := &Process{t: t, cmd: c, path: filepath.Join(c.Dir, c.Name+".out")}
	t.Cleanup(p.cleanup)
	return p
}

// Start runs c and waits until it is ready.
func (c Command) Start(t testing.TB) *Process {
	t.Helper()
	p := c.New(t)
	p.Start()
	return p
}

// Start starts the process, again after it was stopped or killed, and waits
// until it is ready.
func (p *Process) Start() {
	p.t.Helper()
	p.Launch()
	p.WaitReady()
}

// Launch starts the process and does not wait until it is ready.
func (p *Process) Launch() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("testenv: %s runs already", p.cmd.Name)
	}
	r, err := p.launch()
	if err != nil {
		p.t.Fatalf("testenv: start %s: %v", p.cmd.Name, err)
	}
	p.run = r
}

func (p *Process) launch() (*run, error) {
	out, err := os.OpenFile(p.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c := exec.Command(p.cmd.Args[0], p.cmd.Args[1:]...)
	c.Dir, c.Env = p.cmd.Dir, append(append(os.Environ(), raceExit), p.cmd.Env...)
	c.Stdout, c.Stderr = out, out
	// Should this test binary die, the kernel kills the process (Pdeathsig).
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	r := &run{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig acts when the thread that started the process ends, so one
		// thread belongs to the process for as long as it runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := c.Start()
		if err == nil {
			r.pid = c.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		_ = c.Wait() // a non-zero exit is told by the code
		r.code = c.ProcessState.ExitCode()
		close(r.done)
	}()
	return r, <-started
}

// WaitReady waits until the process, which runs, is ready.
func (p *Process) WaitReady() {
	p.t.Helper()
	if p.cmd.Ready == nil {
		return
	}
	errExited := errors.New("exited")
	err := poll(readyTimeout, func() error {
		if !p.Running() {
			return nil
		}
		return p.cmd.Ready()
	})
	if err == nil && !p.Running() {
		err = fmt.Errorf("%w with code %d", errExited, p.run.code)
	}
	if err != nil {
		p.t.Fatalf("testenv: %s is not ready: %v", p.cmd.Name, err)
	}
}

// Running reports whether the process has not ended. A paused one runs.
func (p *Process) Running() bool {
	if p.run == nil {
		return false
	}
	select {
	case <-p.run.done:
		return false
	default:
		return true
	}
}

// Pid returns the id of the process that was started last.
func (p *Process) Pid() int { return p.run.pid }

// Stop asks the process to end (SIGTERM), waits until it has, and returns its
// exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.WaitExit(exitTimeout)
}

// Kill ends the process at once (SIGKILL), paused or not.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.WaitExit(exitTimeout)
}

// Pause freezes the process (SIGSTOP): its sockets stay open and nobody answers.
// It returns when the kernel has stopped it, or keeps it waiting for a child
// that was stopped before it could begin (D).
func (p *Process) Pause() {
	p.t.Helper()
	p.Signal(syscall.SIGSTOP)
	Eventually(p.t, 10*time.Second, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.run.pid))
		if err == nil && !strings.Contains(string(stat), ") T ") && !strings.Contains(string(stat), ") D ") {
			err = fmt.Errorf("%s is not stopped yet: %.60s", p.cmd.Name, stat)
		}
		return err
	})
}

// Resume lets a paused process go on.
func (p *Process) Resume() {
	p.t.Helper()
	p.Signal(syscall.SIGCONT)
}

// Signal sends sig to the process group.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if !p.Running() {
		p.t.Fatalf("testenv: %s does not run", p.cmd.Name)
	}
	if err := syscall.Kill(-p.run.pid, sig); err != nil {
		p.t.Fatalf("testenv: %v to %s: %v", sig, p.cmd.Name, err)
	}
}

// WaitExit waits until the process has ended by itself and returns its exit
// code, -1 if a signal ended it.
func (p *Process) WaitExit(timeout time.Duration) int {
	p.t.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.run.done:
	case <-timer.C:
		p.t.Fatalf("testenv: %s has not ended within %v", p.cmd.Name, timeout)
	}
	return p.run.code
}

// Output returns all that the process has printed, over all its lives.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Errorf("testenv: output of %s: %v", p.cmd.Name, err)
	}
	return string(b)
}

// cleanup kills the process group and shows the output of a failed test.
func (p *Process) cleanup() {
	if p.Running() {
		_ = syscall.Kill(-p.run.pid, syscall.SIGKILL) // may have ended in between
		<-p.run.done
	}
	if p.t.Failed() {
		out := p.Output()
		if len(out) > shownOutput {
			out = "[…]" + out[len(out)-shownOutput:]
		}
		p.t.Logf("--- output of %s ---\n%s", p.cmd.Name, out)
	}
}
