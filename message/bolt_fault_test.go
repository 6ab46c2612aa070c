package message

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"gopush-cluster/internal/peer"
)

func openTestBolt(t *testing.T, dir string, now func() time.Time) *boltStore {
	t.Helper()
	s, err := openBolt(dir, keepForTest, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const childEnv = "GOPUSH_TEST_BOLT_CHILD"

// TestBoltChild is the process that TestBoltKilledInMidSave kills.
func TestBoltChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return // nobody's child
	}
	s, err := openBolt(dir, 1<<20, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for w := range 8 {
		go func() {
			for n := 0; ; n++ {
				body := fmt.Sprintf(`"%d-%d"`, w, n)
				got := s.Save(t.Context(), []item{{key: fmt.Sprint("k", n%4), msg: message(body, time.Now().Unix()+3600, "")}})[0]
				if got.err == nil {
					fmt.Printf("ack k%d %s %d\n", n%4, body, got.mid)
				}
			}
		}()
	}
	select {} // until it is killed
}

// Every save that was acknowledged is there after a kill -9 in the middle of
// many.
func TestBoltKilledInMidSave(t *testing.T) {
	dir := t.TempDir()
	acks := make(map[string]bool) // "key body mid"
	for round := range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestBoltChild$", "-test.timeout=60s")
		child.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) != 4 || f[0] != "ack" {
				continue // the end of a line may be missing, too
			}
			if acks[strings.Join(f[1:], " ")] = true; len(acks) == 200*(round+1) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait() // it was killed
		if len(acks) < 200*(round+1) {
			t.Fatalf("%d saves were acknowledged after round %d", len(acks), round)
		}
	}
	s := openTestBolt(t, dir, time.Now)
	defer s.Close()
	stored := make(map[string]bool)
	for i := range 4 {
		key := fmt.Sprint("k", i)
		r := s.Read(t.Context(), []query{{key: key, limit: 1 << 30}})[0]
		if r.err != nil {
			t.Fatal(r.err)
		}
		last := int64(0)
		for _, m := range r.msgs {
			if m.Mid <= last {
				t.Errorf("mid %d after %d", m.Mid, last)
			}
			last = m.Mid
			stored[fmt.Sprintf("%s %s %d", key, m.Body, m.Mid)] = true
		}
	}
	for what := range acks {
		if !stored[what] {
			t.Errorf("%s was acknowledged and is gone", what)
		}
	}
}

// A full disk fails saves, loses nothing, and is over when there is room.
func TestBoltDiskFull(t *testing.T) {
	for _, full := range []struct {
		name  string
		begin func(t *testing.T) (dir string, free func())
	}{
		{"the file may not grow", limitFiles},
		{"the disk has no block left", smallDisk},
	} {
		t.Run(full.name, func(t *testing.T) {
			dir, free := full.begin(t)
			s := openTestBolt(t, dir, time.Now)
			defer s.Close()
			body := `"` + strings.Repeat("x", 40<<10) + `"`
			save := func(n int) saved {
				return s.Save(t.Context(), []item{{key: fmt.Sprint("k", n), msg: message(body, time.Now().Unix()+3600, "")}})[0]
			}
			n := 0
			for ; n < 1000; n++ {
				if got := save(n); got.err != nil {
					if !errors.Is(got.err, errUnavailable) {
						t.Errorf("save %d: %v", n, got.err)
					}
					break
				}
			}
			if n < 2 || n == 1000 {
				t.Fatalf("%d saves before the disk was full", n)
			}
			for range 3 {
				if got := save(n); got.err == nil {
					t.Fatalf("save %d on a full disk is said to be done", n)
				}
			}
			check := func(when string) {
				t.Helper()
				for i := range n {
					r := s.Read(t.Context(), []query{{key: fmt.Sprint("k", i), limit: 9}})[0]
					if r.err != nil || len(r.msgs) != 1 || string(r.msgs[0].Body) != body {
						t.Fatalf("%s: message %d is gone: %d, %v", when, i, len(r.msgs), r.err)
					}
				}
			}
			check("full")
			free()
			if got := save(n); got.err != nil {
				t.Errorf("with room again: %v", got.err)
			}
			n++
			check("with room again")
		})
	}
}

// limitFiles lets no file of this process grow past 1 MiB.
func limitFiles(t *testing.T) (string, func()) {
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	free := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(free)
	return t.TempDir(), free
}

// smallDisk mounts a disk of 1 MiB.
func smallDisk(t *testing.T) (string, func()) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged entry is its key's trouble alone.
func TestBoltDamage(t *testing.T) {
	s := openTestBolt(t, t.TempDir(), time.Now)
	defer s.Close()
	err := s.db.Update(func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket(bucketRecords).Put(boltKey("record"), []byte("short")),
			tx.Bucket(bucketTokens).Put(append(boltKey("token"), "h"...), []byte("?")),
			tx.Bucket(bucketMessages).Put(messageKey("message", 80), []byte("nonsense")),
			tx.Bucket(bucketIDs).Put(append(boltKey("id"), "i"...), []byte("short")))
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) item {
		it := item{key: key, msg: message(`1`, time.Now().Unix()+60, "")}
		it.msg.Mid = 80
		return it
	}
	items := []item{put("record"), put("good"), put("message")}
	for i, err := range s.Put(t.Context(), items) {
		if (err != nil) != (items[i].key != "good") {
			t.Errorf("put of %s: %v", items[i].key, err)
		}
	}
	for i, r := range s.Save(t.Context(), items) {
		if (r.err != nil) != (items[i].key == "record") {
			t.Errorf("save of %s: %v", items[i].key, r.err)
		}
	}
	named := put("id")
	named.named, named.msg.Nonce = true, "i"
	if r := s.Save(t.Context(), []item{named, put("good")}); r[0].err == nil || r[1].err != nil {
		t.Errorf("save of a damaged id: %+v", r)
	}
	if r := s.Read(t.Context(), []query{{key: "record"}, {key: "good", limit: 9}}); r[0].err == nil || r[1].err != nil || len(r[1].msgs) != 3 {
		t.Errorf("read: %+v", r)
	}
	if got, err := s.CheckToken(t.Context(), "token", "h"); err != nil || got != (peer.TokenReply{}) {
		t.Errorf("token: %d, %v", got, err)
	}
}

// What has expired leaves the file in the end, and nothing else does.
func TestBoltSweep(t *testing.T) {
	c := newClock()
	f := &fixture{clock: c, store: openTestBolt(t, t.TempDir(), c.now)}
	s := f.store.(*boltStore)
	defer s.Close()
	count := func() (n [5]int) {
		t.Helper()
		err := s.view(func(b boltTx) error {
			for i, bucket := range []*bolt.Bucket{b.messages, b.records, b.tokens, b.pending, b.ids} {
				n[i] = bucket.Stats().KeyN
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const brief = sweepLook + 100 // more than one sweep looks at
	var items []item
	for i := range brief {
		items = append(items, item{key: fmt.Sprint("brief", i), msg: message(`1`, c.in(time.Minute), ""), pending: i < 10})
	}
	for i := range 5 {
		it := item{key: "long", msg: message(`1`, c.in(time.Minute), fmt.Sprint(i)), named: true}
		items = append(items, it)
	}
	items = append(items, item{key: "long", msg: message(`1`, c.in(30*24*time.Hour), "")})
	for _, r := range s.Save(t.Context(), items) {
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
	for i, life := range []int64{60, 0} {
		if err := s.AddToken(t.Context(), newToken(nil, "long", fmt.Sprint(i), life, c.now())); err != nil {
			t.Fatal(err)
		}
	}
	f.sweep(t)
	same(t, "nothing has expired", count(), [5]int{brief + 6, brief + 1, 2, 10, 5})
	c.advance(time.Minute)
	f.sweep(t)
	same(t, "messages and a token have", count(), [5]int{1, brief + 1, 1, 10, 5})
	c.advance(idKept)
	f.sweep(t)
	same(t, "and ids", count(), [5]int{1, brief + 1, 1, 10, 0})
	c.advance(pendingKept)
	f.sweep(t)
	same(t, "and pending keys", count(), [5]int{1, brief + 1, 1, 0, 0})
	c.advance(recordKept)
	f.sweep(t)
	same(t, "and records", count(), [5]int{1, 1, 1, 0, 0})
	c.advance(60 * 24 * time.Hour)
	f.sweep(t)
	same(t, "and everything", count(), [5]int{})
}

// Writes that come together are synced together.
func TestBoltGroupCommit(t *testing.T) {
	s := openTestBolt(t, t.TempDir(), time.Now)
	defer s.Close()
	const saves = 256
	done := make(chan error)
	for i := range saves {
		go func() {
			done <- s.Save(t.Context(), []item{{key: fmt.Sprint("k", i), msg: message(`1`, time.Now().Unix()+60, "")}})[0].err
		}()
	}
	for range saves {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var ids int
	if err := s.db.View(func(tx *bolt.Tx) error { ids = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d saves, %d transactions so far", saves, ids)
	if ids >= saves {
		t.Errorf("%d transactions for %d concurrent saves", ids, saves)
	}
}
