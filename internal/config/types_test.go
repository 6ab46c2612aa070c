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
	const good, rule = "0123456789abcdef", "want one line of 16 or more printable ASCII characters without spaces, "
	dir := t.TempDir()
	for _, tt := range []struct {
		name, text string
		mode       fs.FileMode
		want, err  string
	}{
		{"plain", good, 0o600, good, ""},
		{"newline", good + "\n", 0o600, good, ""},
		{"windows newline", good + "\r\n", 0o600, good, ""},
		{"every character", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", 0o400, "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", ""},
		{"for a group", good, 0o640, good, ""},
		{"only one newline goes", good + "\n\n", 0o600, "", rule + "it holds a space, a second line"},
		{"two words", good + " word", 0o600, "", rule + "it holds a space"},
		{"two lines", good + "\n" + good + "\n", 0o600, "", rule + "it holds a space, a second line"},
		{"tab", good + "\t", 0o600, "", rule + "it holds a space"},
		{"control", good + "\x7f", 0o600, "", rule + "it holds a space"},
		{"beyond ASCII", good + "é", 0o600, "", rule + "it holds a space, a second line or a byte beyond ASCII"},
		{"binary", good + "\x00\xff", 0o600, "", rule + "it holds a space"},
		{"short", good[1:] + "\n", 0o600, "", rule + "it holds 15; write one: (umask 077; head -c 32 /dev/urandom"},
		{"empty", "", 0o600, "", rule + "it is empty; write one"},
		{"newline only", "\n", 0o600, "", rule + "it is empty"},
		{"huge", strings.Repeat("x", 70<<10), 0o600, "", "this is no secret"},
		{"anybody may read", good, 0o604, "", "has mode 0604, open to every user of this machine: chmod 600 "},
		{"anybody may write", good, 0o602, "", "has mode 0602"},
		{"anybody may do all", good, 0o666, "", "has mode 0666"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
			s, err := ReadSecret(path)
			if string(s.Bytes()) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ReadSecret = %q, %v; want %q, %q", s.Bytes(), err, tt.want, tt.err)
			}
			if err != nil && len(tt.text) > 1 && strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error repeats the file: %v", err)
			}
		})
	}
	if _, err := ReadSecret(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file = %v, want fs.ErrNotExist", err)
	}
}
