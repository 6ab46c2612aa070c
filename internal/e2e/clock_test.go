package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// stepFile is where a daemon finds how far its clock is to be off.
func (d *daemon) stepFile() string { return filepath.Join(filepath.Dir(d.path), "step") }

// step sets how far the clock of d is off from now on.
func (d *daemon) step(t testing.TB, by time.Duration) {
	t.Helper()
	if err := os.WriteFile(d.stepFile(), []byte(by.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clockOff returns what d shows as its clock_off_ms.
func (d *daemon) clockOff(t testing.TB) (time.Duration, error) {
	var stat struct {
		Off *int64 `json:"clock_off_ms"`
	}
	if err := json.Unmarshal([]byte(get(t, d.stat, "/stat").body), &stat); err != nil {
		return 0, err
	}
	if stat.Off == nil {
		return 0, fmt.Errorf("%s shows no clock_off_ms", d.kind)
	}
	return time.Duration(*stat.Off) * time.Millisecond, nil
}

// TestClockSteps moves the clock of one daemon of each kind: by 10 s, of which it
// and the others warn; by 90 s, by which it alone is not ready, and serves all
// the same; and back.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2"}, stepped: true})
	for _, d := range []*daemon{c.comets[0], c.messages[0], c.webs[0]} {
		ok := t.Run(d.kind, func(t *testing.T) {
			c := c.with(t)
			// What was said of the daemon before does not count.
			said := make(map[*daemon]int)
			for _, d := range c.daemons() {
				said[d] = len(d.Output())
			}
			fresh := func(d *daemon) string { return d.Output()[said[d]:] }
			// wait waits until d shows by, and the others 0, and until d alone is
			// not ready, if unready says so, and nobody else.
			wait := func(by time.Duration, unready bool) {
				t.Helper()
				testenv.Eventually(t, 60*time.Second, func() error {
					for _, o := range c.daemons() {
						want := time.Duration(0)
						if o == d {
							want = by
						}
						off, err := o.clockOff(t)
						if err != nil {
							return err
						}
						if (off - want).Abs() > 2*time.Second {
							return fmt.Errorf("%s shows %v, want %v", o.conf["stat.bind"], off, want)
						}
						if err := o.readyz(); (err != nil) != (unready && o == d) {
							return fmt.Errorf("%s: ready: %v", o.kind, err)
						} else if err != nil && !strings.Contains(err.Error(), "the clock of this machine is 1m") {
							return fmt.Errorf("%s says %w", o.kind, err)
						}
					}
					return nil
				})
			}
			wait(0, false)
			d.step(t, 10*time.Second)
			wait(10*time.Second, false)
			who := d.kind + " " + d.rpc
			if d.kind == "web" { // nobody calls one: its name has the machine's in front
				who = "web "
			}
			testenv.Eventually(t, 60*time.Second, func() error {
				for _, o := range c.daemons() {
					wants := []string{"skew: clocks of other daemons are off; set the one that is wrong and run NTP on every machine", `off="` + who}
					if o == d {
						wants = []string{"skew: the clock of this machine is", "ahead of those of most other daemons", "ready=true"}
					}
					for _, want := range wants {
						if !strings.Contains(fresh(o), want) {
							return fmt.Errorf("%s at %s does not say %q", o.kind, o.stat, want)
						}
					}
				}
				return nil
			})

			d.step(t, 90*time.Second)
			wait(90*time.Second, true)
			key := c.keyOf(c.comets[0], "stepped-"+d.kind)
			cl := c.subscribe(key, "", "1.0")
			c.mustPush(key, `"served"`)
			if m := cl.message(); m.msg != `"served"` {
				t.Errorf("read %s, want what was pushed", m.msg)
			}

			d.step(t, 0)
			wait(0, false)
			testenv.Eventually(t, 60*time.Second, func() error {
				for _, o := range c.daemons() {
					if !strings.Contains(fresh(o), "skew: the clocks agree again") {
						return fmt.Errorf("%s at %s does not say that it is over", o.kind, o.stat)
					}
				}
				return nil
			})
		})
		if !ok {
			return // that clock is still off
		}
	}
}
