package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStateDir(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want string
	}{
		{"XDG", map[string]string{"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/gopush"},
		{"home", map[string]string{"HOME": "/h"}, "/h/.local/state/gopush"},
		{"a relative XDG path is to be ignored", map[string]string{"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/gopush"},
		{"neither", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := stateDir(func(name string) string { return tt.env[name] }); got != tt.want {
				t.Fatalf("stateDir = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	recalled := func(server, key string) int64 {
		t.Helper()
		m, err := recall(dir, server, key)
		if err != nil {
			t.Fatal(err)
		}
		return m.Mid
	}
	if got := recalled("s", "k"); got != 0 {
		t.Fatalf("mid = %d before anything was kept, want 0", got)
	}
	m, err := recall(dir, "s", "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, mid := range []int64{80, 17640000000000000} {
		if err := m.keep(mid); err != nil {
			t.Fatal(err)
		}
		if got := recalled("s", "k"); got != mid {
			t.Fatalf("mid = %d, want %d", got, mid)
		}
	}
	if got := recalled("s", "other"); got != 0 {
		t.Fatalf("mid = %d of another key, want 0", got)
	}
	if got := recalled("other", "k"); got != 0 {
		t.Fatalf("mid = %d of another server, want 0", got)
	}
}

func TestMemoryNotKept(t *testing.T) {
	m, err := recall("", "s", "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.keep(80); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryBroken(t *testing.T) {
	dir := t.TempDir()
	m, err := recall(dir, "s", "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "{", `{"server":"other","key":"k","mid":1}`, `{"server":"s","key":"k","mid":-1}`} {
		if err := os.WriteFile(m.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := recall(dir, "s", "k"); err == nil || !strings.Contains(err.Error(), m.path) {
			t.Errorf("recall with %q in the file = %v, want an error that names the file", content, err)
		}
	}
}
