package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopush-cluster/cmd/internal/assemble"
)

// -check-config says what a start would say, and starts nothing.
func TestStandaloneChecksItsFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		code       int
		want       []string // on the terminal
	}{
		{"good", "[comet]\ntcp.bind = [\"localhost:1\"]\n", 0, []string{"ok\n"}},
		{"out of range", "[comet]\nchannel.bucket = 0\n", 2, []string{"[comet] channel.bucket = 0: want 1..65536"}},
		{"the file of a comet", "tcp.bind = [\"localhost:1\"]\n", 2,
			[]string{"tcp: unknown key", "The file of a standalone has the tables [comet], [web] and [message]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, dir := newFakeWeb(t, nil), t.TempDir()
			file, data := filepath.Join(dir, "c.toml"), filepath.Join(dir, "data")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got := gopush(t, w, "", "standalone", "--check-config", "-c", file, "--data", data)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.out+got.errOut, want) {
					t.Errorf("it says %q%q, want %q", got.out, got.errOut, want)
				}
			}
			if _, err := os.Stat(data); err == nil {
				t.Errorf("a check made %s", data)
			}
		})
	}
}

// The push that is to be typed next works where back-ends need a secret.
func TestWelcomeNamesTheSecret(t *testing.T) {
	at := assemble.Addresses{HTTP: []string{"127.0.0.1:8090"}, Admin: []string{"127.0.0.1:8091"}, AdminSecret: "/etc/gopush/admin.secret"}
	push := commands(welcome("gopush", "data", at))[1]
	if want := `gopush push alice '{"hello":"world"}' --secret-file /etc/gopush/admin.secret`; push != want {
		t.Errorf("standalone says to type\n%s\nwant\n%s", push, want)
	}
}
