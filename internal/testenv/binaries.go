package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binaries is where the commands are kept while this test binary runs.
func binaries() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("gopush-bin-%d", os.Getpid()))
}

// build compiles the commands, once for the test binary.
var build = sync.OnceValue(func() error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	c := exec.Command("go", "build", "-race", "-o", binaries()+"/", "./cmd/comet", "./cmd/web", "./cmd/message", "./cmd/gopush")
	c.Dir = strings.TrimSpace(string(root))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
})

// Binaries returns a folder that holds comet, web, message and gopush, built
// with the race detector from the sources of this module. They are built once
// for all tests of a test binary, whose TestMain calls RemoveBinaries.
func Binaries(t testing.TB) string {
	t.Helper()
	skipShort(t, "the daemons as processes")
	if err := build(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return binaries()
}

// Binary returns the path of one of them.
func Binary(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Binaries(t), name)
}

// RemoveBinaries removes what Binaries has built, if it was called.
func RemoveBinaries() error { return os.RemoveAll(binaries()) }
