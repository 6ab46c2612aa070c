// Package conf holds an example of each daemon's file. Its test keeps them true.
package conf

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

func TestComet(t *testing.T)   { check(t, "comet.toml", comet.DefaultConfig()) }
func TestWeb(t *testing.T)     { check(t, "web.toml", web.DefaultConfig()) }
func TestMessage(t *testing.T) { check(t, "message.toml", message.DefaultConfig()) }

// TestNginx: what Nginx passes to are the ports that the daemons bind, and those
// of a second one of each as scripts/cluster.sh shifts them.
func TestNginx(t *testing.T) {
	text, err := os.ReadFile("nginx/gopush.conf")
	if err != nil {
		t.Fatal(err)
	}
	c, w := comet.DefaultConfig(), web.DefaultConfig()
	for _, bind := range [][]string{c.TCP.Bind, c.WebSocket.Bind, w.HTTP.Bind, w.Admin.Bind} {
		_, port, err := net.SplitHostPort(bind[0])
		if err != nil {
			t.Fatal(err)
		}
		first, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range []int{first, first + 200} {
			if addr := fmt.Sprintf("127.0.0.1:%d", port); !strings.Contains(string(text), addr) {
				t.Errorf("nothing goes to %s", addr)
			}
		}
	}
}

// check holds the file against what the daemon makes of an empty one.
func check[C interface{ Validate() error }](t *testing.T, file string, want C) {
	// As it stands it says what an empty file means. Into the zero value: a key
	// that is left out shows.
	var got C
	if err := config.Load(file, &got); err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if differ := config.Diff(want, got); len(differ) > 0 {
		t.Errorf("%s does not hold the default of %v", file, differ)
	}

	// Every key is there, set or as an example.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(config.Keys(want))), keysOf(string(text))); diff != "" {
		t.Errorf("keys of %s (-Config +file):\n%s", file, diff)
	}

	// The examples are such that they can be used.
	open := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(open, []byte(example.ReplaceAllString(string(text), "$1")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.Load(open, &got); err != nil {
		t.Errorf("with its examples: %v", err)
	}
}

var (
	example = regexp.MustCompile(`(?m)^#([a-z_.]+ +=)`)
	table   = regexp.MustCompile(`^\[([a-z.]+)\]`)
	key     = regexp.MustCompile(`^#?([a-z_.]+) +=`)
)

// keysOf returns the keys of a file, dotted and sorted. A table of free names,
// like [redis.source], is one key.
func keysOf(text string) []string {
	var keys []string
	at := ""
	for line := range strings.Lines(text) {
		if m := table.FindStringSubmatch(line); m != nil {
			at = m[1] + "."
			if strings.HasSuffix(at, ".source.") {
				keys = append(keys, strings.TrimSuffix(at, "."))
			}
		} else if m := key.FindStringSubmatch(line); m != nil {
			keys = append(keys, at+m[1])
		}
	}
	slices.Sort(keys)
	return keys
}
