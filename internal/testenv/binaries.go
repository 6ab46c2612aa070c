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

// built are the results of the builds so far, by their flags.
var built struct {
	sync.Mutex
	errs map[string]error
}

// Build is how the commands are built; the zero value is with the race detector.
type Build struct {
	NoRace bool
	Tags   string
}

// Binaries returns a folder that holds comet, web, message and gopush, built
// from the sources of this module. They are built once for all tests of a test
// binary, whose TestMain calls RemoveBinaries.
func (b Build) Binaries(t testing.TB) string {
	t.Helper()
	skipShort(t, "the daemons as processes")
	flags := []string{"-tags", b.Tags}
	if !b.NoRace {
		flags = append(flags, "-race")
	}
	id := strings.Join(flags, " ")
	dir := filepath.Join(binaries(), strings.ReplaceAll(id, " ", "_"))
	built.Lock()
	defer built.Unlock()
	err, ok := built.errs[id]
	if !ok {
		if built.errs == nil {
			built.errs = make(map[string]error)
		}
		err = build(dir, flags)
		built.errs[id] = err
	}
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return dir
}

// Binary returns the path of one of them.
func (b Build) Binary(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(b.Binaries(t), name)
}

func build(dir string, flags []string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	args := append(append([]string{"build"}, flags...), "-o", dir+"/", "./cmd/comet", "./cmd/web", "./cmd/message", "./cmd/gopush")
	c := exec.Command("go", args...)
	c.Dir = strings.TrimSpace(string(root))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Binaries returns the folder of those built with the race detector.
func Binaries(t testing.TB) string { t.Helper(); return Build{}.Binaries(t) }

// Binary returns the path of one of them.
func Binary(t testing.TB, name string) string { t.Helper(); return Build{}.Binary(t, name) }

// RemoveBinaries removes what Binaries has built, if it was called.
func RemoveBinaries() error { return os.RemoveAll(binaries()) }
