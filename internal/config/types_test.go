package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDurationAndSizeReadWhatTheyPrint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "1m": time.Minute, "500ms": 500 * time.Millisecond, "2h": 2 * time.Hour, "0s": 0,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.D() != want || d.String() != text {
			t.Errorf("%q is read as %v (%v) and printed as %q", text, d.D(), err, d)
		}
	}
	for text, want := range map[string]Size{"0B": 0, "512B": 512, "64KB": 64 << 10, "3MB": 3 << 20, "2GB": 2 << 30} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("%q is read as %d (%v) and printed as %q", text, s, err, s)
		}
	}
}

func TestDurationAndSizeRefuse(t *testing.T) {
	for _, text := range []string{"", "5", "soon", "1 s", "1d"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("duration %q was accepted", text)
		}
	}
	for _, text := range []string{"", "5", "B", "-1B", "1.5KB", "64kb", "9223372036854775807KB", "KB64"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q was accepted", text)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	type holder struct {
		Open   Secret
		hidden Secret
	}
	h := holder{NewSecret([]byte("hunter2")), NewSecret([]byte("hunter2"))}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(h), fmt.Sprintf("%+v", h), fmt.Sprintf("%#v", h), fmt.Sprintf("%x", h.Open), fmt.Sprintf("%q", h.Open),
		h.hidden.String(), string(j), fmt.Sprint(&h),
	} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, fmt.Sprintf("%x", "hunter2")) || strings.Contains(shown, "104 117 110") {
			t.Errorf("the secret shows in %q", shown)
		}
	}
	if string(h.Open.Bytes()) != "hunter2" || (Secret{}).Bytes() != nil {
		t.Errorf("Bytes = %q, and %q of the zero Secret", h.Open.Bytes(), (Secret{}).Bytes())
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, text, want, err string }{
		{"plain", "s3cret", "s3cret", ""},
		{"newline", "s3cret\n", "s3cret", ""},
		{"windows newline", "s3cret\r\n", "s3cret", ""},
		{"only one newline goes", "s3cret\n\n", "s3cret\n", ""},
		{"empty", "", "", "empty; write a secret into it"},
		{"newline only", "\n", "", "empty; write a secret into it"},
		{"huge", strings.Repeat("x", 70<<10), "", "this is no secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "secret")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := ReadSecret(path)
			if string(s.Bytes()) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ReadSecret = %q, %v; want %q, %q", s.Bytes(), err, tt.want, tt.err)
			}
		})
	}
	if _, err := ReadSecret(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file = %v, want fs.ErrNotExist", err)
	}
}
