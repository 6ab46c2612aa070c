package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// reader is a subscribed client on any transport.
type reader interface {
	read(time.Duration) (string, error)
	close()
}

// collect reads n messages and then wants none for a moment. It returns them
// with the messages of an old client unwrapped.
func collect(r reader, n int, old bool) ([]message, error) {
	var out []message
	for len(out) < n {
		body, err := r.read(patience)
		if err != nil {
			return out, fmt.Errorf("after %d of %d messages: %w", len(out), n, err)
		}
		m, err := unwrap(body, old)
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	if body, err := r.read(300 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		return out, fmt.Errorf("behind the last of %d messages: %q, %v", n, body, err)
	}
	return out, nil
}

// unwrap parses a body, of an old client if old.
func unwrap(body string, old bool) (message, error) {
	m, err := parseMessage(body)
	if err != nil || !old {
		return m, err
	}
	var inner string
	if err := json.Unmarshal([]byte(m.msg), &inner); err != nil {
		return m, fmt.Errorf("old client got %q: %w", body, err)
	}
	m.msg = inner
	return m, nil
}

// rising returns an error if mids do not rise strictly.
func rising(msgs []message) error {
	for i := 1; i < len(msgs); i++ {
		if msgs[i].mid <= msgs[i-1].mid {
			return fmt.Errorf("message %d: %v after %v", i, msgs[i], msgs[i-1])
		}
	}
	return nil
}

// TestConcurrentPushes pushes to one key from 64 goroutines through two webs,
// with mprivate across it, and compares what each socket saw with what is kept.
func TestConcurrentPushes(t *testing.T) {
	t.Parallel()
	c := start(t, options{
		nodes: []string{"node1", "node2"}, webs: 2, messages: 2, redis: 2,
		message: settings{"storage.store": maxStore},
	})
	const (
		key     = "busy"
		workers = 64
		rounds  = 3 // a body of its own, one that all share, and mprivate
		total   = workers * rounds
	)
	sockets := []struct {
		name string
		reader
		old bool
	}{
		{"tcp new", c.subscribe(key, "", "1.0"), false},
		{"tcp new again", c.subscribe(key, "", "1.0"), false},
		{"tcp old", c.subscribe(key), true},
		{"websocket new", c.subscribeWS(key, "&ver=1.0"), false},
		{"websocket old", c.subscribeWS(key, ""), true},
	}
	seen := make([][]message, len(sockets))
	var readers sync.WaitGroup
	for i, s := range sockets {
		readers.Go(func() {
			var err error
			if seen[i], err = collect(s, total, s.old); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}

	others := []string{"aside-1", "aside-2", "aside-3"}
	shared := `{"` + payloadMark + `":"shared"}`
	var pushers sync.WaitGroup
	for w := range workers {
		pushers.Go(func() {
			web := c.webs[w%len(c.webs)]
			if ret, err := c.push(web, key, 600, fmt.Sprintf(`{"worker":%d}`, w)); ret != 0 || err != nil {
				t.Errorf("push: ret %d, %v", ret, err)
			}
			if ret, err := c.push(web, key, 600, shared); ret != 0 || err != nil {
				t.Errorf("push: ret %d, %v", ret, err)
			}
			keys := append([]string{key}, others...)
			if ret, failed, err := c.pushMany(web, keys, 600, fmt.Sprintf(`{"many":%d}`, w)); ret != 0 || err != nil || len(failed) > 0 {
				t.Errorf("mprivate: ret %d, fk %q, %v", ret, failed, err)
			}
		})
	}
	pushers.Wait()
	readers.Wait()

	kept := c.mustFetch(key, 0)
	if err := rising(kept); err != nil || len(kept) != total {
		t.Fatalf("kept %d messages, %v, want %d that rise", len(kept), err, total)
	}
	for i, s := range sockets {
		if !slices.Equal(seen[i], kept) {
			t.Errorf("%s saw\n%v\nkept are\n%v", s.name, seen[i], kept)
		}
	}
	// Each push is there once, and what a worker pushed later lies behind.
	at := make(map[string][]int)
	for i, m := range kept {
		at[m.msg] = append(at[m.msg], i)
	}
	if n := len(at[shared]); n != workers {
		t.Errorf("the shared body is kept %d times, want %d", n, workers)
	}
	for w := range workers {
		own, many := at[fmt.Sprintf(`{"worker":%d}`, w)], at[fmt.Sprintf(`{"many":%d}`, w)]
		if len(own) != 1 || len(many) != 1 || own[0] >= many[0] {
			t.Errorf("worker %d: its own push at %v, its last one at %v, want one each, in this order", w, own, many)
		}
	}
	for _, other := range others {
		if m := c.mustFetch(other, 0); len(m) != workers || rising(m) != nil {
			t.Errorf("%s: %d messages, %v, want %d that rise", other, len(m), rising(m), workers)
		}
	}
}

// TestOffline proves that messages for an absent key are kept in order, the
// newest of them, and that a fetch by mid goes on where the client is.
func TestOffline(t *testing.T) {
	t.Parallel()
	c := start(t, options{})
	const key = "absent"
	for i := range 30 {
		c.mustPush(key, fmt.Sprint(i))
	}
	kept := c.mustFetch(key, 0)
	if err := rising(kept); err != nil || len(kept) != 20 {
		t.Fatalf("kept %d, %v, want the newest 20 in order", len(kept), err)
	}
	for i, m := range kept {
		if want := fmt.Sprint(i + 10); m.msg != want {
			t.Errorf("message %d is %s, want %s", i, m.msg, want)
		}
	}
	if rest := c.mustFetch(key, kept[12].mid); !slices.Equal(rest, kept[13:]) {
		t.Errorf("after %d: %v, want %v", kept[12].mid, rest, kept[13:])
	}
	cl := c.subscribe(key, "", "1.0")
	cl.wantSilence(1500 * time.Millisecond) // who gives no mid gets no replay
	c.mustPush(key, `"live"`)
	if m := cl.message(); m.msg != `"live"` || m.mid <= kept[19].mid {
		t.Errorf("live %v after %v", m, kept[19])
	}

	// Everything survives the daemons: only the store remembers.
	kept = c.mustFetch(key, 0)
	for _, d := range c.daemons() {
		d.Kill()
	}
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	if again := c.mustFetch(key, 0); !slices.Equal(again, kept) {
		t.Errorf("after a restart of everything: %v, want %v", again, kept)
	}
	cl = c.subscribe(key, "", "1.0")
	c.mustPush(key, `"later"`)
	if m := cl.message(); m.msg != `"later"` || m.mid <= kept[19].mid {
		t.Errorf("live %v after %v", m, kept[19])
	}
}

// TestFetchAfterAccept plays clients that fetch by themselves right after +h
// while pushes go on, and drop what does not rise, as those in the field do:
// none may miss a message.
func TestFetchAfterAccept(t *testing.T) {
	t.Parallel()
	c := start(t, options{message: settings{"storage.store": maxStore}})
	const key = "joining"
	stop := make(chan struct{})
	var pusher sync.WaitGroup
	pusher.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if ret, err := c.push(c.webs[0], key, 600, fmt.Sprint(n)); ret != 0 || err != nil {
				t.Errorf("push %d: ret %d, %v", n, ret, err)
				return
			}
		}
	})
	var clients sync.WaitGroup
	for i := range 12 {
		cl := c.subscribe(key, "", "1.0")
		clients.Go(func() {
			got, err := c.fetch(c.webs[0], key, 0)
			if err != nil {
				t.Error(err)
				return
			}
			fetched := len(got)
			for len(got) < fetched+50 {
				body, err := cl.read(patience)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				m, err := parseMessage(body)
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) == 0 || m.mid > got[len(got)-1].mid {
					got = append(got, m)
				}
			}
			first, err := strconv.Atoi(got[0].msg) // older ones may have been pushed out
			if err != nil {
				t.Error(err)
			}
			for n, m := range got {
				if m.msg != fmt.Sprint(first+n) {
					t.Errorf("client %d: message %d of %d fetched and %d live is %v, want %d", i, n, fetched, len(got)-fetched, m, first+n)
					return
				}
			}
		})
		time.Sleep(50 * time.Millisecond) // spread over the pushes
	}
	clients.Wait()
	close(stop)
	pusher.Wait()
}
