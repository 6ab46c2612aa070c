package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stateDir returns the folder for what a program may remember between runs
// (XDG base directories), or "" where the user has no home.
func stateDir(getenv func(string) string) string {
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "gopush")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "gopush")
	}
	return ""
}

// memory is the last mid that was printed for one key of one cluster, kept in a
// file of its own so that two sub commands do not write over each other.
type memory struct {
	path   string // "": nothing is kept
	Server string `json:"server"`
	Key    string `json:"key"`
	Mid    int64  `json:"mid"`
}

// recall reads what was kept for key. Nothing kept is mid 0.
func recall(dir, server, key string) (*memory, error) {
	m := &memory{Server: server, Key: key}
	if dir == "" {
		return m, nil
	}
	sum := sha256.Sum256([]byte(server + "\n" + key))
	m.path = filepath.Join(dir, "sub-"+hex.EncodeToString(sum[:8])+".json")
	raw, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, m); err != nil || m.Server != server || m.Key != key || m.Mid < 0 {
		return nil, &failure{fmt.Errorf("%s does not hold the last mid of %q", m.path, key),
			"Remove it to see again all that is stored, or choose where to begin with --mid."}
	}
	return m, nil
}

// keep remembers mid. The file is replaced whole, so an interrupted write
// leaves the one before.
func (m *memory) keep(mid int64) error {
	m.Mid = mid
	if m.path == "" {
		return nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	next := m.path + ".next"
	if err := os.WriteFile(next, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, m.path)
}
