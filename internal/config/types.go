package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that a file holds as a string, like "30s".
type Duration time.Duration

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns d as a file holds it: "1m", not "1m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New(`want a duration with its unit, like "500ms", "30s" or "1h30m"`)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes that a file holds as a string, like "64KB".
type Size int64

// The units of a Size.
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
)

var units = []struct {
	name string
	size Size
}{{"GB", GB}, {"MB", MB}, {"KB", KB}, {"B", 1}}

// String returns s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return "0B"
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range units {
		digits, ok := bytes.CutSuffix(text, []byte(u.name))
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(u.size) {
			break
		}
		*s = Size(n) * u.size
		return nil
	}
	return errors.New(`want a whole number with its unit, like "512B", "64KB" or "1MB"`)
}

// Secret holds what must not be printed: however it is formatted, also as a
// part of something else, it shows as ***. The zero value is no secret.
type Secret struct{ bytes func() []byte } // fmt follows no function

// NewSecret returns b as a secret. No bytes are no secret.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	b = bytes.Clone(b)
	return Secret{func() []byte { return b }}
}

// Bytes returns the secret itself, nil for the zero value. Do not change it.
func (s Secret) Bytes() []byte {
	if s.bytes == nil {
		return nil
	}
	return s.bytes()
}

// String returns ***.
func (s Secret) String() string { return "***" }

// GoString returns ***.
func (s Secret) GoString() string { return "***" }

// MarshalText returns ***.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// minSecret is the shortest secret: a shorter one can be tried out.
const minSecret = 16

// ReadSecret reads the secret in the file at path, without the newline that
// editors put at its end. The file holds one line of at least minSecret printable
// ASCII characters without spaces, which any header can carry and any editor
// shows, and is nothing to users other than its owner and its group.
func ReadSecret(path string) (Secret, error) {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return Secret{}, fmt.Errorf("%s: has mode %04o, open to every user of this machine: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return Secret{}, err
	}
	if len(b) > most {
		return Secret{}, fmt.Errorf("%s: more than %d bytes: this is no secret", path, most)
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	b = bytes.TrimSuffix(b, []byte("\r"))
	wrong := ""
	switch {
	case len(b) == 0:
		wrong = "it is empty"
	case bytes.ContainsFunc(b, func(c rune) bool { return c <= ' ' || c > '~' }):
		wrong = "it holds a space, a second line or a byte beyond ASCII"
	case len(b) < minSecret:
		wrong = fmt.Sprintf("it holds %d", len(b))
	default:
		return NewSecret(b), nil
	}
	return Secret{}, fmt.Errorf("%s: want one line of %d or more printable ASCII characters without spaces, %s; write one: (umask 077; head -c 32 /dev/urandom | base64 > %s)",
		path, minSecret, wrong, path)
}
