package e2e

import (
	"fmt"
	"sync"
	"time"

	"gopush-cluster/internal/testenv"
)

// ledger remembers what became of each push, and checks afterwards what the
// cluster promised. Any goroutine.
type ledger struct {
	mu     sync.Mutex
	acked  map[string][]string // key → bodies, each its own
	failed map[string][]string

	passing map[string]map[string]bool // key → bodies that are not stored
}

func newLedger() *ledger {
	return &ledger{acked: make(map[string][]string), failed: make(map[string][]string)}
}

func (l *ledger) note(key, body string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok {
		l.acked[key] = append(l.acked[key], body)
	} else {
		l.failed[key] = append(l.failed[key], body)
	}
}

// forget takes a message that is not kept off what the key's follower has seen:
// the ledger is about those that are.
func (l *ledger) forget(key, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.passing == nil {
		l.passing = make(map[string]map[string]bool)
	}
	if l.passing[key] == nil {
		l.passing[key] = make(map[string]bool)
	}
	l.passing[key][body] = true
}

// check proves I1, I3, I5 and I7 for all keys: what was acknowledged is kept
// once, what failed at most once, nothing else is, and mids rise.
func (l *ledger) check(c *cluster) {
	c.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make(map[string]bool)
	for k := range l.acked {
		keys[k] = true
	}
	for k := range l.failed {
		keys[k] = true
	}
	for key := range keys {
		var kept []message
		testenv.Eventually(c.t, 15*time.Second, func() (err error) { // a fault may just be over
			kept, err = c.fetch(c.webs[0], key, 0)
			return err
		})
		if err := rising(kept); err != nil {
			c.t.Errorf("%s: %v", key, err)
		}
		count := make(map[string]int)
		for _, m := range kept {
			count[m.msg]++
		}
		for _, body := range l.acked[key] {
			if count[body] != 1 {
				c.t.Errorf("%s: %s was acknowledged and is kept %d times", key, body, count[body])
			}
			delete(count, body)
		}
		for _, body := range l.failed[key] {
			if count[body] > 1 {
				c.t.Errorf("%s: %s failed and is kept %d times", key, body, count[body])
			}
			delete(count, body)
		}
		if len(count) > 0 {
			c.t.Errorf("%s: nobody pushed %v", key, count)
		}
	}
}

// try pushes a stored message and notes what became of it.
func (c *cluster) try(l *ledger, web *daemon, key, body string) (int, error) {
	ret, err := c.push(web, key, 600, body)
	l.note(key, body, err == nil && ret == 0)
	return ret, err
}

// load pushes through the first web to keys of its own from eight goroutines
// until stop is called, and notes what became of each push.
func (c *cluster) load(book *ledger, prefix string) (stop func()) {
	web := c.webs[0]
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				key := fmt.Sprintf("%s-%d-%d", prefix, w, i/maxStore) // so that none is pushed out
				_, _ = c.try(book, web, key, fmt.Sprint(i))           // noted
			}
		})
	}
	return func() {
		close(done)
		wg.Wait()
	}
}

// longRun pushes until a hundred pushes in a row have not failed.
func (c *cluster) longRun(book *ledger) {
	c.t.Helper()
	for run, i := 0, 0; run < 100; i++ {
		ret, err := c.try(book, c.webs[0], fmt.Sprintf("run-%d", i%10), fmt.Sprint(i))
		if run++; ret != 0 || err != nil {
			run = 0
		}
		if i > 1000 {
			c.t.Fatal("pushes keep failing")
		}
	}
}
