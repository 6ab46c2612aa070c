package testenv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a process that answers to its signals as the script says.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	return Command{Name: "sh", Args: []string{"sh", "-c", script}}.New(t)
}

func TestProcessExitCodes(t *testing.T) {
	tests := []struct {
		name, script string
		end          func(*Process) int
		want         int
	}{
		{"by itself", "exit 3", func(p *Process) int { return p.WaitExit(5 * time.Second) }, 3},
		{"clean on SIGTERM", "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", (*Process).Stop, 0},
		{"by a signal", "echo up; sleep 60", (*Process).Stop, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := shell(t, tt.script)
			p.Launch()
			if strings.Contains(tt.script, "echo up") {
				Eventually(t, 5*time.Second, func() error { return contains(p.Output(), "up\n") })
			}
			if got := tt.end(p); got != tt.want {
				t.Errorf("exit code = %d, want %d", got, tt.want)
			}
			if p.Running() {
				t.Error("runs after its end")
			}
		})
	}
}

func TestProcessKillEndsTheWholeGroup(t *testing.T) {
	p := shell(t, "sleep 60 & echo child $!; wait")
	p.Launch()
	var child int
	Eventually(t, 5*time.Second, func() error {
		_, err := fmt.Sscanf(p.Output(), "child %d", &child)
		return err
	})
	p.Pause() // a stopped process must die as well
	p.Kill()
	Eventually(t, 5*time.Second, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return fmt.Errorf("child %d lives: %s %v", child, stat, err)
	})
}

func TestProcessPauseFreezes(t *testing.T) {
	p := shell(t, "trap 'echo got' USR1; echo up; while :; do sleep 0.01; done")
	p.Launch()
	Eventually(t, 5*time.Second, func() error { return contains(p.Output(), "up\n") })
	p.Pause()
	p.Signal(syscall.SIGUSR1)
	if err := contains(p.Output(), "got"); err == nil {
		t.Error("a paused process handled a signal")
	}
	p.Resume()
	Eventually(t, 5*time.Second, func() error { return contains(p.Output(), "got\n") })
}

func TestProcessKeepsOutputOverRestarts(t *testing.T) {
	p := shell(t, "echo life; sleep 60")
	for n := 1; n <= 2; n++ {
		p.Launch()
		Eventually(t, 5*time.Second, func() error { return contains(p.Output(), strings.Repeat("life\n", n)) })
		p.Kill()
	}
}

func contains(s, want string) error {
	if !strings.Contains(s, want) {
		return fmt.Errorf("output %q lacks %q", s, want)
	}
	return nil
}
