package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// settings is a configuration file as dotted keys, all at the top level, where
// TOML allows them. A nil value leaves the key out.
type settings map[string]any

// with returns s overlaid with others.
func (s settings) with(others ...settings) settings {
	out := maps.Clone(s)
	for _, o := range others {
		maps.Copy(out, o)
	}
	return out
}

// write writes s as TOML. Strings, numbers, booleans and arrays of strings
// look the same in TOML as in JSON.
func (s settings) write(t testing.TB, path string) {
	t.Helper()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if s[key] == nil {
			continue
		}
		value, err := json.Marshal(s[key])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s = %s\n", key, value)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
