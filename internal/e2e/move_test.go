package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// TestThirdComet adds a comet to two under load, and takes it away again. It
// takes its share, only clients of keys that move are sent away, at the pace that
// is configured, and nobody misses a message: not even one that is pushed, and
// not stored, to a client which still waits for its turn.
func TestThirdComet(t *testing.T) {
	t.Parallel()
	const clients, rate = 150, 10
	c := prepare(t, options{
		nodes:   []string{"node1", "node2", "node3"},
		comet:   settings{"migrate.rate": rate, "legacy.hold": "200ms"},
		message: settings{"storage.store": maxStore},
	})
	third := c.comets[2]
	c.comets = c.comets[:2]
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	book := newLedger()
	followers := c.follow(clients, "third")
	before := c.homes(followers)
	stop := c.pushAll(book, followers, 100)

	begun := time.Now()
	third.Start()
	c.comets = append(c.comets, third)
	testenv.Eventually(t, 15*time.Second, c.agree)
	during := c.homes(followers)
	moved := moved(followers, before, during)
	share := c.share("node3")
	t.Logf("the third comet has %.1f %% of the ring; %d of %d clients moved", 100*share, len(moved), clients)
	if math.Abs(share-1./3) > 0.05 {
		t.Errorf("the third of three comets has %.1f %% of the ring, want a third within 5 points", 100*share)
	}
	if part := float64(len(moved)) / clients; math.Abs(part-share) > 0.15 { // so few keys are spread by chance: 4 deviations
		t.Errorf("%.0f %% of the keys moved to a comet with %.0f %% of the ring", 100*part, 100*share)
	}
	c.waitsAndHears(book, moved)
	testenv.Eventually(t, 60*time.Second, func() error { return allCameOver(moved, 1) })
	left := make(map[*daemon]int)
	for _, f := range moved {
		left[before[f]]++
	}
	tookTime := func(d *daemon, n int) { // the first may go at once
		t.Helper()
		took, least := time.Since(begun), time.Duration(n-1)*time.Second/rate
		t.Logf("%s sent %d clients away in %v, at the pace of %d a second", d.tcp, n, took.Round(100*time.Millisecond), rate)
		if took < least {
			t.Errorf("that is less than %v", least)
		}
	}
	for d, n := range left { // each by itself
		tookTime(d, n)
	}
	for _, f := range followers {
		if lost, _ := f.times(); len(lost) > 0 && during[f] == before[f] {
			t.Errorf("%s lost its connection, though its key stayed", f.key)
		}
	}
	c.allHear(book, followers, "over")

	begun = time.Now()
	if code := third.Stop(); code != 0 { // it drains, and the keys go back
		t.Errorf("exit code %d, want 0", code)
	}
	c.comets = c.comets[:2]
	testenv.Eventually(t, 15*time.Second, c.agree)
	testenv.Eventually(t, 60*time.Second, func() error { return allCameOver(moved, 2) })
	tookTime(third, len(moved))
	for _, f := range followers {
		if lost, _ := f.times(); len(lost) > 0 && during[f] == before[f] {
			t.Errorf("%s lost its connection, though its key stayed", f.key)
		}
	}
	keptPace(t, append(c.comets, third), followers, rate)
	c.allHear(book, followers, "back")
	stop()
	c.caughtUp(book, followers)
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}
}

// share returns the part of the ring that a node has, as web tells it.
func (c *cluster) share(node string) float64 {
	c.t.Helper()
	res, err := c.http.Get("http://" + c.webs[0].admin + "/1/admin/nodes")
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Nodes []struct {
				Name  string
				Share float64
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range answer.Data.Nodes {
		if n.Name == node {
			return n.Share
		}
	}
	c.t.Fatalf("web knows no node %s", node)
	return 0
}

// homes returns where each follower's key lives.
func (c *cluster) homes(followers []*follower) map[*follower]*daemon {
	homes := make(map[*follower]*daemon)
	for _, f := range followers {
		homes[f] = c.owner(f.key)
	}
	return homes
}

// moved returns the followers whose key lives elsewhere now.
func moved(followers []*follower, before, now map[*follower]*daemon) []*follower {
	var moved []*follower
	for _, f := range followers {
		if before[f] != now[f] {
			moved = append(moved, f)
		}
	}
	return moved
}

// waitsAndHears pushes a message that is not stored to clients which are to be
// sent away, and checks that those hear it that still wait for their turn.
func (c *cluster) waitsAndHears(book *ledger, followers []*follower) {
	c.t.Helper()
	heard := 0
	for i, f := range followers {
		if lost, _ := f.times(); len(lost) > 0 {
			continue
		}
		body := fmt.Sprintf(`"waiting-%d"`, i)
		if ret, err := c.push(c.webs[0], f.key, 0, body); err != nil || ret != 0 {
			c.t.Errorf("%s: push without expiry: %d, %v", f.key, ret, err)
		}
		testenv.Eventually(c.t, patience, func() error {
			if lost, _ := f.times(); len(lost) > 0 || f.saw(body) {
				return nil
			}
			return fmt.Errorf("%s waits for its turn and did not hear what was pushed", f.key)
		})
		if f.saw(body) {
			heard++
			book.forget(f.key, body)
		}
	}
	if heard == 0 {
		c.t.Error("nobody was waiting: the test shows nothing")
	}
}

// allHear pushes a message that is not stored to every follower, and waits until
// each has heard it.
func (c *cluster) allHear(book *ledger, followers []*follower, word string) {
	c.t.Helper()
	testenv.Eventually(c.t, 30*time.Second, func() error { // who is just coming over is nowhere for a moment
		for _, f := range followers {
			body := fmt.Sprintf(`"%s-%s-%d"`, word, f.key, time.Now().UnixNano())
			if !f.connected() {
				return fmt.Errorf("%s is not connected", f.key)
			}
			if _, err := c.push(c.webs[0], f.key, 0, body); err != nil {
				return err
			}
			book.forget(f.key, body)
			end := time.Now().Add(2 * time.Second)
			for !f.saw(body) {
				if lost, _ := f.times(); time.Now().After(end) {
					return fmt.Errorf("%s, sent away %d times, did not hear %s", f.key, len(lost), body)
				}
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	})
}

// allCameOver returns nil when each follower lost n connections and has a new
// one.
func allCameOver(followers []*follower, n int) error {
	for _, f := range followers {
		if lost, _ := f.times(); len(lost) != n || !f.connected() {
			return fmt.Errorf("%s lost its connection %d times, want %d; connected: %v", f.key, len(lost), n, f.connected())
		}
	}
	return nil
}
