package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// TestMessageFrozen freezes one of two message daemons with calls under way. It
// is left out, and what it does on waking is done only once.
func TestMessageFrozen(t *testing.T) {
	t.Parallel()
	c := start(t, options{messages: 2, message: settings{"storage.store": maxStore}})
	book := newLedger()
	stop := c.load(book, "load")
	time.Sleep(300 * time.Millisecond) // of load
	c.messages[0].Pause()
	c.longRun(book) // it is left out
	c.messages[0].Resume()
	time.Sleep(500 * time.Millisecond) // of load, and for what the woken one finds in its sockets
	stop()
	book.check(c)
}

// TestCometFrozen freezes a comet with pushes under way for three seconds. It
// keeps its place and its sockets; what was acknowledged has been delivered once
// and is kept, what failed is there at most once.
func TestCometFrozen(t *testing.T) {
	t.Parallel()
	c := start(t, options{
		comet: settings{"zookeeper.timeout": "10s"}, message: settings{"storage.store": maxStore},
	})
	const key = "watched"
	cl := c.subscribe(key, "", "1.0")
	cl.wantSilence(1200 * time.Millisecond) // past legacy.hold
	book := newLedger()
	var seen []message
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			body, err := cl.read(patience)
			if err != nil {
				t.Errorf("watching: %v", err)
				return
			}
			m, err := parseMessage(body)
			if err != nil {
				t.Error(err)
				return
			}
			if m.msg == `"end"` {
				return
			}
			seen = append(seen, m)
		}
	})
	stop := c.load(book, "load")
	n := 0
	push := func(times int) {
		for range times {
			n++
			_, _ = c.try(book, c.webs[0], key, fmt.Sprint(n)) // noted
		}
	}
	push(20)
	c.comets[0].Pause()
	frozen := time.Now()
	push(1)
	time.Sleep(time.Until(frozen.Add(3 * time.Second))) // the freeze is the point
	c.comets[0].Resume()
	push(20)
	stop()
	testenv.Eventually(t, 15*time.Second, func() error {
		if ret, err := c.push(c.webs[0], key, 0, `"end"`); ret != 0 || err != nil {
			return fmt.Errorf("ret %d, %v", ret, err)
		}
		return nil
	})
	reader.Wait()
	book.check(c)
	// Live and kept agree, but for one that failed and is shown by a fetch alone.
	kept := c.mustFetch(key, 0)
	if err := rising(seen); err != nil {
		t.Error(err)
	}
	for _, m := range seen {
		if !slices.Contains(kept, m) {
			t.Errorf("the socket saw %v, which is not kept", m)
		}
	}
	for _, m := range kept {
		if !slices.Contains(seen, m) && !slices.Contains(book.failed[key], m.msg) {
			t.Errorf("kept and acknowledged is %v, which the socket did not see", m)
		}
	}
}
