package skew

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// daemon is one whose clock a test steps.
type daemon struct {
	*Clock
	name string
	step time.Duration
}

func newDaemon(name string) *daemon {
	d := &daemon{Clock: New(), name: name}
	d.now = func() time.Time { return time.Now().Add(d.step) }
	return d
}

// ask lets d measure o and tell it, over a network that takes trip.
func (d *daemon) ask(o *daemon, trip time.Duration) {
	_ = d.Measure(o.name, func(last time.Duration, known bool) (time.Time, error) {
		time.Sleep(trip / 2)
		if known {
			o.Told(d.name, -last)
		}
		now := o.now()
		time.Sleep(trip - trip/2)
		return now.Round(0), nil
	})
}

// cluster is webs, comets and message daemons that ask each other as real ones do.
type cluster struct{ webs, comets, messages []*daemon }

func newCluster(webs, comets, messages int) *cluster {
	some := func(kind string, n int) (all []*daemon) {
		for i := range n {
			all = append(all, newDaemon(fmt.Sprint(kind, i+1)))
		}
		return all
	}
	return &cluster{some("web", webs), some("comet", comets), some("message", messages)}
}

func (c *cluster) all() []*daemon {
	return append(append(append([]*daemon(nil), c.webs...), c.comets...), c.messages...)
}

// round lets everybody ask once, with 10 s until the next round.
func (c *cluster) round() {
	for _, d := range c.all() {
		for _, o := range append(append([]*daemon(nil), c.comets...), c.messages...) {
			if o != d && !strings.HasPrefix(d.name, "message") {
				d.ask(o, 20*time.Millisecond)
			}
		}
	}
	time.Sleep(10 * time.Second)
}

// TestOneWrongClock proves that one wrong clock accuses itself and nobody else,
// whatever it is the clock of, and that all is well when it is right again.
func TestOneWrongClock(t *testing.T) {
	for _, step := range []time.Duration{90 * time.Second, -90 * time.Second, 10 * time.Second, -10 * time.Second} {
		for i := range newCluster(1, 2, 1).all() {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(1, 2, 1)
				wrong := c.all()[i]
				check := func(want time.Duration) {
					t.Helper()
					for _, d := range c.all() {
						own := time.Duration(0)
						if d == wrong {
							own = want
						}
						if off := d.Off(); (off - own).Abs() > time.Second {
							t.Errorf("%s is off by %v: %s has %v, want %v", wrong.name, step, d.name, off, own)
						}
						if err := d.Ready(); (err == nil) != (own.Abs() < time.Minute) {
							t.Errorf("%s is off by %v: %s is ready: %v", wrong.name, step, d.name, err)
						}
						if line, _ := d.said.line(d.judge(), time.Now()); want != 0 {
							whose := "of other daemons"
							if d == wrong {
								whose = "of this machine"
							}
							if !strings.Contains(line, whose) {
								t.Errorf("%s is off by %v: %s says %q", wrong.name, step, d.name, line)
							}
							if d != wrong && !strings.Contains(line, fmt.Sprintf(`off="%s by %+.1fs"`, wrong.name, step.Seconds())) {
								t.Errorf("%s is off by %v: %s says %q", wrong.name, step, d.name, line)
							}
						}
					}
				}
				c.round()
				check(0)
				wrong.step = step
				c.round()
				check(step)
				wrong.step = 0
				c.round()
				check(0)
			})
		}
	}
}

// TestTwoDaemons proves that where half stands against half all warn and nobody
// is unready: nobody can know who is wrong.
func TestTwoDaemons(t *testing.T) {
	for _, n := range []int{1, 2} { // comets whose clocks are right, and as many message daemons that are wrong
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(0, n, n)
			for _, m := range c.messages {
				m.step = 10 * time.Minute
			}
			c.round()
			for _, d := range c.all() {
				if n == 2 && strings.HasPrefix(d.name, "message") {
					continue // it does not know the other one, so it stands against two
				}
				if err := d.Ready(); err != nil || d.Off() != 0 {
					t.Errorf("%d of each: %s: off %v, ready: %v; want 0 and nil", n, d.name, d.Off(), err)
				}
				if line, warning := d.said.line(d.judge(), time.Now()); !warning || !strings.Contains(line, "ours may be wrong") {
					t.Errorf("%d of each: %s says %q", n, d.name, line)
				}
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		others []time.Duration // seconds
		want   time.Duration
	}{
		{nil, 0},
		{[]time.Duration{90}, 0},
		{[]time.Duration{-90}, 0},
		{[]time.Duration{90, 90}, 90},
		{[]time.Duration{90, -90}, 0},
		{[]time.Duration{90, 0, 90}, 0},
		{[]time.Duration{-90, -80, -70}, -70},
		{[]time.Duration{90, 80, 70}, 70},
		{[]time.Duration{90, 80, 70, 60}, 70},
		{[]time.Duration{-1, 2, 3, 500}, 2},
	} {
		var v verdict
		for _, by := range tt.others {
			v.others = append(v.others, other{by: by})
		}
		if got := v.median(); got != tt.want {
			t.Errorf("median of 0 and %d = %d, want %d", tt.others, got, tt.want)
		}
	}
}

func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		type call struct {
			last  time.Duration
			known bool
		}
		var calls []call
		ahead := 10 * time.Second
		measure := func(want ...call) {
			t.Helper()
			calls = nil
			if err := c.Measure("comet a", func(last time.Duration, known bool) (time.Time, error) {
				calls = append(calls, call{last, known})
				time.Sleep(200 * time.Millisecond)
				now := time.Now().Add(ahead).Round(0)
				time.Sleep(200 * time.Millisecond)
				return now, nil
			}); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(calls) != fmt.Sprint(want) {
				t.Errorf("calls = %v, want %v", calls, want)
			}
		}
		measure(call{0, false}, call{10 * time.Second, true}) // it is told at once
		measure(call{10 * time.Second, true})
		ahead += 500 * time.Millisecond
		measure(call{10 * time.Second, true}) // it is told next time
		ahead = -time.Hour
		measure(call{10500 * time.Millisecond, true}, call{-time.Hour, true})
		time.Sleep(memory)
		ahead = 0
		measure(call{0, false}, call{0, true}) // it learns that it is right, too
		ahead = -time.Hour
		measure(call{0, true}, call{-time.Hour, true})
		failed := errors.New("test")
		if err := c.Measure("comet b", func(time.Duration, bool) (time.Time, error) { return time.Time{}, failed }); err != failed {
			t.Errorf("Measure = %v, want what ask said", err)
		}
		if v := c.judge(); len(v.others) != 1 || v.others[0].by != -time.Hour {
			t.Errorf("known: %v, want one that is an hour behind", v.others)
		}
	})
}

// TestThrownAway proves that neither a daemon that was frozen nor a step of our
// own clock in the middle of a question makes an offset.
func TestThrownAway(t *testing.T) {
	for _, tt := range []struct {
		name         string
		before, then time.Duration // the answer comes in between
		step         time.Duration
		kept         bool
	}{
		{"a quick answer", 100 * time.Millisecond, 100 * time.Millisecond, 0, true},
		{"the callee was frozen", 20 * time.Second, 0, 0, false},
		{"the caller was frozen", 0, 20 * time.Second, 0, false},
		{"slower than a second", 0, 1100 * time.Millisecond, 0, false},
		{"our clock steps forward", 0, 0, 30 * time.Second, false},
		{"our clock steps back", 0, 0, -30 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDaemon("web")
				if err := d.Measure("comet", func(time.Duration, bool) (time.Time, error) {
					time.Sleep(tt.before)
					now := time.Now().Round(0)
					time.Sleep(tt.then)
					d.step += tt.step
					return now, nil
				}); err != nil {
					t.Fatal(err)
				}
				if kept := len(d.judge().others) > 0; kept != tt.kept {
					t.Errorf("kept: %v, want %v", kept, tt.kept)
				}
			})
		})
	}
}

// TestForgotten proves that what was heard longer than a minute ago counts no
// more, and that what was measured here goes before what was told.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		me, a, b := newDaemon("me"), newDaemon("a"), newDaemon("b")
		a.step, b.step = 90*time.Second, 80*time.Second
		me.ask(a, 0)
		me.Told("a", 85*time.Second)
		me.ask(b, 0)
		if off := me.Off(); off != -80*time.Second {
			t.Fatalf("Off = %v, want -80s", off)
		}
		if by := me.judge().others[0].by; by != 90*time.Second {
			t.Errorf("a is ahead by %v, want the measured 90s", by)
		}
		time.Sleep(40 * time.Second)
		me.Told("a", 70*time.Second)
		time.Sleep(30 * time.Second)
		v := me.judge()
		if len(v.others) != 1 || v.others[0] != (other{"a", 70 * time.Second}) || v.own != 0 {
			t.Errorf("after 70s: %+v, want a alone, as it was told", v)
		}
		time.Sleep(30 * time.Second)
		if v := me.judge(); len(v.others) != 0 || len(me.peers) != 0 {
			t.Errorf("after 100s: %+v, want nobody", v)
		}
		if err := me.Ready(); err != nil {
			t.Errorf("Ready = %v where nobody is known", err)
		}
	})
}

func TestBounds(t *testing.T) {
	c := New()
	c.Told("", time.Hour)
	c.Told(strings.Repeat("x", maxName+1), time.Hour)
	if n := len(c.judge().others); n != 0 {
		t.Errorf("%d known by names that are none", n)
	}
	for i := range maxPeers + 10 {
		c.Told(fmt.Sprint(i), math.MinInt64)
	}
	if n := len(c.judge().others); n != maxPeers {
		t.Errorf("%d known, want at most %d", n, maxPeers)
	}
	if off := c.Off(); off != farthest {
		t.Errorf("Off = %v, want %v", off, farthest)
	}
	if line, _ := c.said.line(c.judge(), time.Now()); len(line) > 1000 || !strings.Contains(line, "and 1016 more") {
		t.Errorf("the log says %d bytes: %s", len(line), line)
	}
}

// TestLog proves what is said, and when: as it begins, as it becomes worse, every
// few minutes while it lasts, and once as it is over.
func TestLog(t *testing.T) {
	var s said
	start := time.Now()
	for _, tt := range []struct {
		at   time.Duration
		own  time.Duration
		a, b time.Duration
		want string // a part of it; "": nothing is said
	}{
		{0, 0, 0, 0, ""},
		{1 * time.Second, 0, 5 * time.Second, 0, ""},
		{2 * time.Second, 0, 6 * time.Second, 0, `other daemons are off; set the one that is wrong and run NTP on every machine known=3 off="a by +6.0s"`},
		{3 * time.Second, 0, 7 * time.Second, 0, ""},
		{4 * time.Second, 0, 4500 * time.Millisecond, 0, ""}, // not over before it is below 4 s
		{5 * time.Second, 0, 6 * time.Second, 0, ""},
		{6 * time.Second, 0, 6 * time.Second, -70 * time.Second, `known=3 off="b by -70.0s, a by +6.0s"`},
		{5 * time.Minute, 0, 6 * time.Second, -70 * time.Second, ""},
		{6 * time.Minute, 0, 6 * time.Second, -70 * time.Second, `"b by -70.0s, a by +6.0s"`},
		{6*time.Minute + time.Second, -6 * time.Second, 6 * time.Second, 6 * time.Second, "this machine is 6s behind those of most other daemons; set"},
		{7 * time.Minute, -4500 * time.Millisecond, 6 * time.Second, 6 * time.Second, ""},
		{8 * time.Minute, -61 * time.Second, 61 * time.Second, 61 * time.Second, "ready=false"},
		{9 * time.Minute, -59 * time.Second, 59 * time.Second, 59 * time.Second, ""},
		{10 * time.Minute, -61 * time.Second, 61 * time.Second, 61 * time.Second, ""}, // it was said
		{13 * time.Minute, 61 * time.Second, -61 * time.Second, -61 * time.Second, "61s ahead of those"},
		{18 * time.Minute, 59 * time.Second, -59 * time.Second, -59 * time.Second, "ready=true"},
		{19 * time.Minute, 61 * time.Second, -61 * time.Second, -61 * time.Second, ""}, // it was said
		{20 * time.Minute, 3 * time.Second, 3 * time.Second, 0, "agree again daemons=3"},
		{21 * time.Minute, 4500 * time.Millisecond, 0, 0, ""},
		{22 * time.Minute, 6 * time.Second, -6 * time.Second, -6 * time.Second, "6s ahead of those"},
	} {
		v := verdict{own: tt.own, others: []other{{"a", tt.a}, {"b", tt.b}, {"c", 0}}}
		line, warning := s.line(v, start.Add(tt.at))
		if tt.want == "" && line != "" || !strings.Contains(strings.ReplaceAll(line, "1m1s", "61s"), tt.want) {
			t.Errorf("at %v: says %q, want %q", tt.at, line, tt.want)
		}
		if want := line != "" && !strings.Contains(line, "again"); warning != want {
			t.Errorf("at %v: a warning: %v, want %v", tt.at, warning, want)
		}
	}
}
