package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// number returns the number in an environment variable, or def: longer forms of
// a test ask for more.
func number(t *testing.T, name string, def int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s = %q: want a number, 1 or more", name, text)
	}
	return n
}

// TestRollingRestart restarts three comets one after the other under load, by
// draining them and in place. Not one push fails, no client misses a message,
// and clients come back no faster than they are sent away. ROLLING_CLIENTS and ROLLING_PUSHES (a second) ask for more of both.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	clients, pushes := number(t, "ROLLING_CLIENTS", 150), number(t, "ROLLING_PUSHES", 100)
	rate := max(1, clients/10) // a second: sending a third of them away takes three
	for _, mode := range []struct {
		name string
		keep string
	}{
		{"by drain", "0s"},
		{"in place", "1m"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, options{
				nodes:   []string{"node1", "node2", "node3"},
				comet:   settings{"drain.keep": mode.keep, "migrate.rate": rate, "legacy.hold": "200ms"},
				message: settings{"storage.store": maxStore},
			})
			book := newLedger()
			followers := c.follow(clients, "rolling")
			home := make(map[*follower]*daemon)
			for _, f := range followers {
				home[f] = c.owner(f.key)
			}
			stop := c.pushAll(book, followers, pushes)
			for i, d := range c.comets {
				if code := d.Stop(); code != 0 {
					t.Errorf("comet %d: exit code %d, want 0", i+1, code)
				}
				if mode.keep != "0s" {
					c.kept(fmt.Sprintf("node%d", i+1))
				}
				d.Start()
				testenv.Eventually(t, 30*time.Second, c.agree)
			}
			stop()
			c.caughtUp(book, followers)
			book.check(c)
			if len(book.failed) > 0 {
				t.Errorf("pushes failed: %v", book.failed)
			}
			pushed := 0
			for _, bodies := range book.acked {
				pushed += len(bodies)
			}
			t.Logf("%d clients, %d pushes acknowledged, %d failed; each client has seen its own, each once", clients, pushed, len(book.failed))
			keptPace(t, c.comets, followers, rate)
			for _, f := range followers {
				lost, _ := f.times()
				if mode.keep != "0s" && len(lost) != 1 {
					t.Errorf("%s lost its connection %d times, want once, with its own comet", f.key, len(lost))
				}
				if d := c.owner(f.key); d != home[f] {
					t.Errorf("%s lives at %s, and did at %s", f.key, d.tcp, home[f].tcp)
				}
			}
		})
	}
}

// kept checks that the place of a comet that has ended waits for it.
func (c *cluster) kept(node string) {
	c.t.Helper()
	conn := c.dialZK()
	raw, _, err := conn.Get(cometPath + "/" + node)
	var data struct{ Keep int64 }
	if err != nil || json.Unmarshal(raw, &data) != nil || data.Keep <= time.Now().Unix() {
		c.t.Errorf("%s holds %s, %v; want keep, a second to come", node, raw, err)
	}
	if names, _, err := conn.Children(cometPath + "/" + node); err != nil || len(names) != 0 {
		c.t.Errorf("%s has the children %q, %v; want none", node, names, err)
	}
}

// TestDrainIsPaced stops a comet that is slow to send its clients away: it does
// so one by one, each is told where to ask, and a second signal ends it at once.
func TestDrainIsPaced(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, comet: settings{"migrate.rate": 1, "drain.timeout": "1h"}})
	d := c.comets[0]
	followers := c.follow(60, "paced")
	here := 0
	for _, f := range followers {
		if c.owner(f.key) == d {
			here++
		}
	}
	d.Signal(syscall.SIGTERM)
	away := func() (n, told int) {
		for _, f := range followers {
			lost, t := f.times()
			n, told = n+len(lost), told+t
		}
		return n, told
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if n, _ := away(); n < 3 {
			return fmt.Errorf("%d were sent away, want 3", n)
		}
		return nil
	})
	n, told := away()
	if n != told || n > here/2 {
		t.Errorf("of %d clients %d were sent away, %d of them told so: want a few, all told", here, n, told)
	}
	if ok, _, err := c.dialZK().Exists(cometPath + "/node1"); ok || err != nil {
		t.Errorf("the node of a comet that drains exists: %v, %v", ok, err)
	}
	d.Signal(syscall.SIGTERM)
	if code := d.WaitExit(patience); code != 1 { // the drain would take a minute
		t.Errorf("exit code %d after a second signal, want 1", code)
	}
	c.comets = c.comets[1:]
	testenv.Eventually(t, 60*time.Second, func() error { // all live elsewhere
		for _, f := range followers {
			if !f.connected() {
				return fmt.Errorf("%s is not connected", f.key)
			}
		}
		return nil
	})
}

// TestStandbyTakesOverFromTheDead kills the active comet of a node: its standby
// serves the same keys as soon as the session of the dead one is over, and
// whoever comes back has everything that was pushed meanwhile.
func TestStandbyTakesOverFromTheDead(t *testing.T) {
	t.Parallel()
	c := prepare(t, options{nodes: []string{"node1", "node1"}, message: settings{"storage.store": maxStore}})
	c.messages[0].Launch()
	c.webs[0].Launch()
	c.comets[0].Start()
	c.comets[1].Start()
	c.ready()
	dead, standby := c.comets[0], c.comets[1]
	book := newLedger()
	followers := c.follow(20, "takeover")
	stop := c.pushAll(book, followers, 50)
	dead.Kill()
	testenv.Eventually(t, 15*time.Second, func() error { // a session of 4 s
		addr, err := serverOf(c.webs[0], "takeover-0")
		if err == nil && addr != standby.tcp {
			err = errors.New("the standby does not serve yet")
		}
		return err
	})
	stop()
	c.caughtUp(book, followers)
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}
	dead.Start() // and is the standby now
	if reply, err := knock(dead.tcp, "takeover-0"); reply != "-n\r\n" {
		t.Errorf("who came back answers %q, %v, want -n", reply, err)
	}
	if d := c.owner("takeover-0"); d != standby {
		t.Errorf("%s serves, want who took over, %s", d.tcp, standby.tcp)
	}
}

// TestWeightAndDrain changes the ring with the gopush command.
func TestWeightAndDrain(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, message: settings{"storage.store": maxStore}})
	book := newLedger()
	followers := c.follow(60, "weight")
	home := make(map[*follower]*daemon)
	for _, f := range followers {
		home[f] = c.owner(f.key)
	}
	stop := c.pushAll(book, followers, 50)
	c.gopush("weight", "node1", "9")
	c.weighs("node1", 9)
	testenv.Eventually(t, 15*time.Second, c.agree)
	moved := 0
	for _, f := range followers {
		now := c.owner(f.key)
		if now != home[f] && now != c.comets[0] {
			t.Errorf("%s moved to node2, which weighs less now", f.key)
		}
		if now != home[f] {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no key has moved")
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		for _, f := range followers {
			if lost, _ := f.times(); !f.connected() || (len(lost) == 1) != (c.owner(f.key) != home[f]) {
				return fmt.Errorf("%s lost its connection %d times; home %s, now %s", f.key, len(lost), home[f].tcp, c.owner(f.key).tcp)
			}
		}
		return nil
	})

	d := c.comets[0]
	if code := d.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.Start() // with the weight of its file
	c.weighs("node1", 1)
	testenv.Eventually(t, 15*time.Second, c.agree)

	c.gopush("drain", "node1")
	if code := d.WaitExit(30 * time.Second); code != 0 {
		t.Errorf("a drained comet ends with %d, want 0", code)
	}
	if _, _, err := c.dialZK().Get(cometPath + "/node1"); !errors.Is(err, zk.ErrNoNode) {
		t.Errorf("the node of a drained comet: %v, want none", err)
	}
	c.comets = c.comets[1:]
	testenv.Eventually(t, 15*time.Second, c.agree)
	stop()
	c.caughtUp(book, followers)
	book.check(c)
	if len(book.failed) > 0 {
		t.Errorf("pushes failed: %v", book.failed)
	}
	if out, err := c.tryGopush("drain", "node1"); err == nil || !strings.Contains(out, "no node of the ring") {
		t.Errorf("drain of a node that is not there: %s, %v", out, err)
	}
}

// weighs waits until web's ring has this weight for node.
func (c *cluster) weighs(node string, weight int) {
	c.t.Helper()
	testenv.Eventually(c.t, 15*time.Second, func() error {
		var nodes []struct {
			Name   string
			Weight int
		}
		out := c.gopush("nodes", "-o", "json")
		if err := json.Unmarshal([]byte(out), &nodes); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		for _, n := range nodes {
			if n.Name == node && n.Weight == weight {
				return nil
			}
		}
		return fmt.Errorf("want %s of weight %d in %s", node, weight, out)
	})
}

// gopush runs the command against the first web and returns what it prints.
func (c *cluster) gopush(args ...string) string {
	c.t.Helper()
	out, err := c.tryGopush(args...)
	if err != nil {
		c.t.Fatalf("gopush %q: %v\n%s", args, err, out)
	}
	return out
}

func (c *cluster) tryGopush(args ...string) (string, error) {
	c.t.Helper()
	w := c.webs[0]
	args = append(args, "--web", "http://"+w.web, "--admin", "http://"+w.admin)
	out, err := exec.Command(testenv.Binary(c.t, "gopush"), args...).CombinedOutput()
	return string(out), err
}
