package comet

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
)

// TestStorm pushes from many goroutines to a few keys while sessions come and
// go, the store fails now and then, and webs save directly. Then the history
// decides: mids rise on every socket, nothing comes twice or from nowhere, and
// what was acknowledged while a session was live has reached it.
func TestStorm(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { storm(t, seed) })
	}
}

func storm(t *testing.T, seed uint64) {
	r := newRig(t, func(c *Config) { c.Legacy.Hold = 0; c.Channel.MsgBuf = 4096; c.Outbuf.Bytes = 1 << 26 })
	var rndMu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 7))
	chance := func(n int) int { rndMu.Lock(); defer rndMu.Unlock(); return rnd.IntN(n) }
	flaky := func(op string) error {
		time.Sleep(time.Duration(chance(300)) * time.Microsecond)
		if chance(40) == 0 {
			return errDown
		}
		return nil
	}
	r.msgs.set(flaky, flaky) // before: not stored; after: stored, but the answer is lost

	keys := []string{"k0", "k1", "k2"}
	type note struct{ key, body string }
	var mu sync.Mutex
	acked := make(map[note]int64) // stored pushes with ret 0
	pushed := make(map[note]bool) // everything anybody tried
	watch := make(map[string]*fakeSocket)
	for _, k := range keys { // one session a key that stays from the first push to the last
		_, watch[k] = r.join(k, slowSocket(chance))
	}
	waitLive(t, r, watch)

	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 150 {
				k, body := keys[chance(len(keys))], fmt.Sprintf(`"%d-%d"`, g, i)
				mu.Lock()
				pushed[note{k, body}] = true
				mu.Unlock()
				stored := chance(4) > 0
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				var m int64
				code := peer.Failed
				if chance(20) == 0 && stored {
					m, code = r.msgs.direct(k, body, body[1:len(body)-1]).Mid, peer.OK
				} else {
					res := r.Server.push(ctx, []peer.Push{r.item(body, stored, k)})[0]
					m, code = res.Mid, res.Code
				}
				cancel()
				if code == peer.OK && stored {
					mu.Lock()
					acked[note{k, body}] = m
					mu.Unlock()
				}
			}
		})
	}
	var visitors []*fakeSocket
	wg.Go(func() { // sessions that come and go
		for range 60 {
			_, sock := r.join(keys[chance(len(keys))], slowSocket(chance))
			visitors = append(visitors, sock)
			time.Sleep(time.Duration(chance(2000)) * time.Microsecond)
			if chance(3) > 0 {
				sock.Close()
			}
		}
	})
	wg.Wait()
	r.msgs.set(nil, nil)
	for _, k := range keys { // a last one each makes what is left be fetched
		mu.Lock()
		pushed[note{k, `"last"`}] = true
		mu.Unlock()
		acked[note{k, `"last"`}] = r.mustPush(k, `"last"`, true)
	}
	for k, sock := range watch {
		await(t, "the last message of "+k, func() bool {
			all := sock.messages(t)
			return sock.isClosed() || len(all) > 0 && string(all[len(all)-1].Msg) == `"last"`
		})
	}
	for k, sock := range watch {
		all := sock.messages(t)
		if !rising(all) {
			t.Errorf("%s: mids do not rise", k)
		}
		seen := make(map[string]int64)
		for _, m := range all {
			if string(m.Msg) == `"hello"` { // see waitLive
				continue
			}
			if !pushed[note{k, string(m.Msg)}] {
				t.Errorf("%s: %s was never pushed there", k, m.Msg)
			}
			if seen[string(m.Msg)] != 0 {
				t.Errorf("%s: %s came twice", k, m.Msg)
			}
			seen[string(m.Msg)] = m.Mid
		}
		if sock.isClosed() {
			continue // told to come back and fetch
		}
		for n, m := range acked {
			if n.key == k && seen[n.body] != m {
				t.Errorf("%s: acknowledged %s has mid %d, on the socket %d", k, n.body, m, seen[n.body])
			}
		}
	}
	for _, sock := range visitors {
		if !rising(sock.messages(t)) {
			t.Error("a visitor's mids do not rise")
		}
	}
	checkStored(t, r, acked, func(n note) (string, string) { return n.key, n.body })
	r.close()
}

// checkStored wants every acknowledged message in the store under its mid.
func checkStored[N comparable](t *testing.T, r *rig, acked map[N]int64, of func(N) (key, body string)) {
	t.Helper()
	r.msgs.mu.Lock()
	defer r.msgs.mu.Unlock()
	for n, m := range acked {
		key, body := of(n)
		if !slices.ContainsFunc(r.msgs.keys[key].stored, func(s peer.Stored) bool { return s.Mid == m && string(s.Msg) == body }) {
			t.Errorf("%s: acknowledged %s is not stored under %d", key, body, m)
		}
	}
}

// slowSocket takes a part of most writes.
func slowSocket(chance func(int) int) *fakeSocket {
	sock := newFakeSocket()
	sock.take = func(n int) int {
		if chance(3) > 0 {
			return n
		}
		return chance(n + 1)
	}
	return sock
}

// waitLive pushes until every watched session is live.
func waitLive(t *testing.T, r *rig, watch map[string]*fakeSocket) {
	t.Helper()
	for k, sock := range watch {
		await(t, k+" to go live", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r.Server.push(ctx, []peer.Push{{Keys: []string{k}, Msg: json.RawMessage(`"hello"`)}})
			return len(sock.messages(t)) > 0
		})
	}
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20s for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
