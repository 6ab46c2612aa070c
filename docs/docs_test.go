// Package docs is written for people. Its test keeps docs/configuration.md equal
// to what the daemons read.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

func TestConfiguration(t *testing.T) {
	text, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for _, s := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(s, "\n")
		sections[name] = body
	}
	t.Run("comet", func(t *testing.T) { check(t, sections["comet"], comet.DefaultConfig()) })
	t.Run("web", func(t *testing.T) { check(t, sections["web"], web.DefaultConfig()) })
	t.Run("message", func(t *testing.T) { check(t, sections["message"], message.DefaultConfig()) })
}

// row is a row of a table: key and default.
var row = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| (?:`([^`]*)`)? \\|")

// check holds the table of a section against the daemon's configuration.
func check[C any](t *testing.T, section string, want C) {
	var keys []string
	var file strings.Builder
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		keys = append(keys, m[1])
		if m[2] != "" {
			file.WriteString(m[1] + " = " + m[2] + "\n")
		}
	}
	slices.Sort(keys)
	if diff := cmp.Diff(slices.Sorted(slices.Values(config.Keys(want))), keys); diff != "" {
		t.Errorf("keys (-Config +table):\n%s", diff)
	}
	// The defaults, read like a file over nothing, are what an empty file means.
	path := filepath.Join(t.TempDir(), "defaults.toml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var got C
	if err := config.Load(path, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Diff(want, got) {
		t.Errorf("the default of %s is not the daemon's", key)
	}
}
