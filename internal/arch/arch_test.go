package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string // of the package
	TestImports  []string // of its tests
	XTestImports []string // of its tests outside it
}

func TestArrows(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages: is this test in the wrong folder?", len(pkgs))
	}
	for _, wrong := range check(pkgs) {
		t.Error(wrong)
	}
}

// list returns all packages of the module.
func list(t *testing.T) []pkg {
	t.Helper()
	// The go command keeps a test's result until a file changes that the test
	// itself, not a child of it, has looked at.
	if err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// check returns a line for each import that must not be.
func check(pkgs []pkg) []string {
	var wrong []string
	for _, p := range pkgs {
		from := strings.TrimPrefix(p.ImportPath, module)
		if !has(levels, from) && !has(forTests, from) {
			wrong = append(wrong, from+": no level; give it one in internal/arch/rules_test.go")
			continue
		}
		for _, to := range p.Imports {
			if err := mayImport(from, to, false); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %v", from, to, err))
			}
		}
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			if err := mayImport(from, to, true); err != nil {
				wrong = append(wrong, fmt.Sprintf("the test of %s imports %s: %v", from, to, err))
			}
		}
	}
	return wrong
}

// mayImport judges one arrow. The tests of a package may import, beyond what
// it may itself, the package and testenv.
func mayImport(from, to string, test bool) error {
	name, ours := strings.CutPrefix(to, module)
	if !ours {
		return mayImportModule(from, to, test)
	}
	if test && (name == from || name == "internal/testenv") {
		return nil
	}
	limit, ok := levels[from]
	if !ok {
		limit = forTests[from]
	}
	level, ok := levels[name]
	switch {
	case has(forTests, name):
		return errors.New("it is for tests only")
	case !ok:
		return errors.New("it has no level")
	case level >= limit:
		return fmt.Errorf("an arrow from level %d to level %d; it must go down", limit, level)
	}
	return nil
}

// mayImportModule judges an arrow to what is not ours.
func mayImportModule(from, to string, test bool) error {
	level := levels[from]
	if isStandard(to) {
		if level == 1 && !test && (to == "log" || to == "log/slog") {
			return errors.New("level 1 does not log")
		}
		return nil
	}
	u, ok := usersOf(to)
	switch {
	case !ok:
		return errors.New("a module that internal/arch/rules_test.go does not list")
	case has(forTests, from):
		return nil
	case u.tests && !test:
		return errors.New("it is for tests only")
	case len(u.only) > 0 && !slices.Contains(u.only, from):
		return fmt.Errorf("it lives behind %s", strings.Join(u.only, ", "))
	case level <= u.above:
		return fmt.Errorf("it is for packages above level %d", u.above)
	}
	return nil
}

// isStandard reports whether path is in the standard library: there is no dot
// in its first element.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// usersOf returns who may import path.
func usersOf(path string) (users, bool) {
	for mod, u := range thirdParty {
		if path == mod || strings.HasPrefix(path, mod+"/") {
			return u, true
		}
	}
	return users{}, false
}

func has[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}

// TestCheckFindsWrongArrows shows that TestArrows would fail where it should.
func TestCheckFindsWrongArrows(t *testing.T) {
	tests := []struct {
		name, from string
		imports    []string
		tests      []string
		want       string // "": nothing wrong
	}{
		{"down", "comet", []string{"fmt", module + "internal/peer", module + "internal/wire"}, nil, ""},
		{"up", "internal/peer", []string{module + "comet"}, nil, "from level 3 to level 4"},
		{"sideways", "comet", []string{module + "internal/directory"}, nil, "from level 4 to level 4"},
		{"a leaf that imports a leaf", "internal/config", []string{module + "internal/mid"}, nil, "from level 1 to level 1"},
		{"a main that imports a main", "cmd/gopush", []string{module + "cmd/comet"}, nil, "from level 6 to level 6"},
		{"wiring", "cmd/gopush", []string{module + "cmd/internal/assemble"}, nil, ""},
		{"a package without a level", "internal/util", nil, nil, "no level"},
		{"an import without a level", "comet", []string{module + "internal/util"}, nil, "no level"},
		{"testenv in a daemon", "comet", []string{module + "internal/testenv"}, nil, "tests only"},
		{"testenv in a test", "comet", nil, []string{module + "internal/testenv", module + "comet"}, ""},
		{"a test that looks up", "internal/rpcnet", nil, []string{module + "comet"}, "from level 2 to level 4"},
		{"testenv stays blind", "internal/testenv", []string{module + "internal/wire"}, nil, "from level 0 to level 1"},
		{"e2e over the daemons", "internal/e2e", nil, []string{module + "internal/testenv", module + "comet/client", "github.com/gomodule/redigo/redis"}, ""},
		{"redis in web", "web", []string{"github.com/gomodule/redigo/redis"}, nil, "it lives behind message"},
		{"redis in web's tests", "web", nil, []string{"github.com/gomodule/redigo/redis"}, "it lives behind message"},
		{"zookeeper in directory", "internal/directory", []string{"github.com/go-zookeeper/zk"}, nil, "it lives behind internal/registry"},
		{"websocket in the client", "comet/client", []string{"github.com/gorilla/websocket"}, nil, ""},
		{"toml in comet", "comet", []string{"github.com/BurntSushi/toml"}, nil, "it lives behind internal/config"},
		{"a leaf that logs", "internal/wire", []string{"github.com/golang/glog"}, nil, "above level 1"},
		{"a leaf that logs otherwise", "internal/wire", []string{"log/slog"}, nil, "does not log"},
		{"goleak in a daemon", "comet", []string{"go.uber.org/goleak"}, nil, "tests only"},
		{"goleak in a test of a leaf", "internal/batch", nil, []string{"go.uber.org/goleak"}, ""},
		{"a module nobody discussed", "comet", []string{"github.com/pkg/errors"}, nil, "does not list"},
		{"a name that only begins alike", "comet", []string{"github.com/golang/glogger"}, nil, "does not list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(check([]pkg{{ImportPath: module + tt.from, Imports: tt.imports, TestImports: tt.tests}}), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("check = %q, want %q", got, tt.want)
			}
		})
	}
}
