package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/testenv"
)

// testHung: a server that hangs holds a call as long as the call's budget,
// connections or not. s has fewer of them than there are calls.
func testHung(t *testing.T, s store, server *testenv.Process) {
	it := item{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}
	if err := s.Save(t.Context(), []item{it})[0].err; err != nil {
		t.Fatal(err)
	}
	server.Pause()
	big := it // more than the sockets' buffers hold: writing blocks too
	big.msg.Body = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	const budget = 300 * time.Millisecond
	done := make(chan error)
	const calls = 8 // more than there are connections
	for i := range calls {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), budget)
			defer cancel()
			start := time.Now()
			var err error
			if i%2 == 0 {
				err = s.Save(ctx, []item{big, big, big, big, big, big})[0].err
			} else {
				err = s.Read(ctx, []query{{key: "k", limit: 1}})[0].err
			}
			if took := time.Since(start); took > 10*budget {
				err = fmt.Errorf("took %v", took)
			} else if errors.Is(err, errUnavailable) {
				err = nil
			} else {
				err = fmt.Errorf("got %v, want errUnavailable", err)
			}
			done <- err
		}()
	}
	for range calls {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	server.Resume()
	// Connections that timed out are gone; what they asked for late does not
	// mix into new answers.
	testenv.Eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := s.Read(ctx, []query{{key: "k", limit: 99}})[0]
		if r.err == nil && len(r.msgs) == 0 {
			t.Fatal("read nothing from a healthy server")
		}
		return r.err
	})
}

// testKilledInMidSave: every save that was acknowledged is there after a kill -9 in
// the middle of many, and those that were not are there at most once. s keeps any
// number for a key.
func testKilledInMidSave(t *testing.T, s store, server *testenv.Process) {
	expire := time.Now().Add(time.Hour).Unix()
	type ack struct {
		key, body string
		mid       int64
	}
	acks := make(chan []ack)
	stop := make(chan struct{})
	const workers = 8
	for w := range workers {
		go func() {
			var mine []ack
			for n := 0; ; n++ {
				select {
				case <-stop:
					acks <- mine
					return
				default:
				}
				key := fmt.Sprint("k", n%4)
				body := fmt.Sprintf(`"%d-%d"`, w, n)
				it := item{key: key, msg: message(body, expire, fmt.Sprintf("%d-%d", w, n))}
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				for { // as web does: the same nonce until the answer is known
					got := s.Save(ctx, []item{it})[0]
					if got.err == nil {
						mine = append(mine, ack{key, body, got.mid})
						break
					}
					if ctx.Err() != nil {
						break
					}
					it.retry = true
					time.Sleep(time.Millisecond)
				}
				cancel()
			}
		}()
	}
	for range 3 {
		time.Sleep(150 * time.Millisecond)
		server.Kill()
		server.Start()
	}
	time.Sleep(100 * time.Millisecond)
	close(stop)
	var all []ack
	for range workers {
		all = append(all, <-acks...)
	}
	if len(all) < 100 {
		t.Fatalf("only %d saves were acknowledged", len(all))
	}
	stored := make(map[string]map[string]int64) // key → body → mid
	for i := range 4 {
		key := fmt.Sprint("k", i)
		r := s.Read(t.Context(), []query{{key: key, limit: 1 << 30}})[0]
		if r.err != nil {
			t.Fatal(r.err)
		}
		stored[key] = make(map[string]int64)
		last := int64(0)
		for _, m := range r.msgs {
			if m.Mid <= last || m.Mid%mid.Step != 0 {
				t.Errorf("mid %d after %d", m.Mid, last)
			}
			last = m.Mid
			if stored[key][string(m.Body)] != 0 {
				t.Errorf("%s: %s is stored twice", key, m.Body)
			}
			stored[key][string(m.Body)] = m.Mid
		}
	}
	for _, a := range all {
		if stored[a.key][a.body] != a.mid {
			t.Errorf("%s: %s was acknowledged with mid %d, stored is %d", a.key, a.body, a.mid, stored[a.key][a.body])
		}
	}
	t.Logf("%d acknowledged saves over 3 kills", len(all))
}

// testLargeBatch: a batch larger than one transaction, of at most most items, keeps
// its order.
func testLargeBatch(t *testing.T, s store, most int) {
	body := bytes.Repeat([]byte("1"), 1<<20)
	var items []item
	for i := range most*2 + 10 {
		it := item{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}
		if i%100 == 0 {
			it.msg.Body = body
		}
		items = append(items, it)
	}
	last := int64(0)
	for i, got := range s.Save(t.Context(), items) {
		if got.err != nil || got.prev != last {
			t.Fatalf("item %d: %+v after %d", i, got, last)
		}
		last = got.mid
	}
}

// testTwoDaemons: message daemons whose clocks differ save to one key in one order.
func testTwoDaemons(t *testing.T, open func(now func() time.Time) store) {
	const each = 200
	results := make(chan []saved)
	var reader store
	for _, skew := range []time.Duration{-10 * time.Second, 10 * time.Second} {
		s := open(func() time.Time { return time.Now().Add(skew) })
		defer s.Close()
		reader = s
		go func() {
			var all []saved
			for range each {
				all = append(all, s.Save(t.Context(), []item{{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}})...)
			}
			results <- all
		}()
	}
	prevs := make(map[int64]int64)
	for range 2 {
		last := int64(0)
		for _, r := range <-results {
			if r.err != nil || r.mid <= last || r.mid <= r.prev {
				t.Fatalf("%+v after %d", r, last)
			}
			last = r.mid
			prevs[r.mid] = r.prev
		}
	}
	n := 0
	for at := reader.Read(t.Context(), []query{{key: "k"}})[0].last; at != 0; at = prevs[at] {
		n++
	}
	same(t, "saves in one chain", n, 2*each)
}
