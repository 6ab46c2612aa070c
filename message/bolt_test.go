package message

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBoltStore(t *testing.T) {
	testStore(t, func(t *testing.T, c *clock) *fixture {
		dir := t.TempDir()
		open := func() store {
			s, err := openBolt(dir, keepForTest, c.now)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		f := &fixture{store: open()}
		f.reopen = func() store {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return open()
		}
		return f
	})
}

func TestBoltFileInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := openBolt(dir, keepForTest, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = openBolt(dir, keepForTest, time.Now)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, boltFile)) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second open: %v, want an error that names the file", err)
	}
}

func TestBoltFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	s, err := openBolt(dir, keepForTest, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, boltFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// What was read stays as it was when the file's pages are written anew.
func TestBoltReadOutlivesItsTransaction(t *testing.T) {
	s, err := openBolt(t.TempDir(), keepForTest, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	save := func(key string, fill string) {
		t.Helper()
		it := item{key: key, msg: message(`"`+strings.Repeat(fill, 1000)+`"`, time.Now().Unix()+3600, "")}
		if err := s.Save(t.Context(), []item{it})[0].err; err != nil {
			t.Fatal(err)
		}
	}
	save("k", "a")
	body := s.Read(t.Context(), []query{{key: "k", limit: 1}})[0].msgs[0].Body
	want := string(body)
	for range 50 {
		save("k", "b")
		save("other", "c")
	}
	if string(body) != want {
		t.Errorf("%.20q became %.20q", want, body)
	}
}
