package directory

import (
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/skew"
)

// clockDaemon answers what time it is, and keeps what it is told.
type clockDaemon struct {
	addr string
	step time.Duration

	mu   sync.Mutex
	told []peer.ClockArgs
}

func (c *clockDaemon) Clock(args *peer.ClockArgs, reply *peer.ClockReply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, *args)
	reply.Now = time.Now().Add(c.step).UnixNano()
	return nil
}

func (*clockDaemon) Ping(int, *int) error { return nil }

// hears reports whether it was told by name that it is ahead by about its step.
func (c *clockDaemon) hears(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.told {
		if off := -a.Ahead(); a.Known && a.From == name && (off-c.step).Abs() < time.Second {
			return true
		}
	}
	return false
}

func (c *clockDaemon) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.told)
}

func newClockDaemon(t *testing.T, kind string, step time.Duration) *clockDaemon {
	t.Helper()
	c := &clockDaemon{step: step}
	c.addr, _ = serve(t, kind, c)
	return c
}

// TestClocks proves that comets and message daemons are asked for their time and
// are told what came of it, but for the comet that asks, and that an old daemon
// counts for nothing.
func TestClocks(t *testing.T) {
	for _, asker := range []string{"web", "comet"} {
		t.Run(asker, func(t *testing.T) {
			a := newClockDaemon(t, "CometRPC", 90*time.Second)
			b := newClockDaemon(t, "CometRPC", 80*time.Second)
			m := newClockDaemon(t, "MessageRPC", 70*time.Second)
			old, _ := serve(t, "MessageRPC", &OldMessageRPC{})
			o := Options{Registry: newFakeRegistry(), Clock: ClockOptions{Clock: skew.New(), Name: func() string { return "web here" }}}
			want := []*clockDaemon{a, b, m}
			if asker == "comet" {
				o.Self = self{"node1", a.addr}
				o.Clock.Name = func() string { return "comet " + a.addr }
				want = want[1:]
			}
			d := New(o)
			run(t, d)
			s := comets(1, a.addr, b.addr)
			s.Messages = messages(old, m.addr).Messages
			o.Registry.(*fakeRegistry).states <- s
			for _, c := range want {
				until(t, "told what was measured", func() bool { return c.hears(o.Clock.Name()) })
			}
			// Of 0, 70, 80 and 90 the two in the middle are 70 and 80; without 90 it is 70.
			until(t, "the offset that most have", func() bool {
				return (o.Clock.Clock.Off() + 70*time.Second).Abs() < time.Second
			})
			if n := a.asked(); asker == "comet" && n > 0 {
				t.Errorf("the comet asked itself %d times", n)
			}
			if o.Clock.Clock.Ready() == nil {
				t.Error("ready, 70s behind all others")
			}
		})
	}
}

// TestClockOfAnOldDaemon proves that an old daemon is left alone for long, and
// one that could not be reached is not.
func TestClockOfAnOldDaemon(t *testing.T) {
	old, stop := serve(t, "MessageRPC", &OldMessageRPC{})
	d := New(Options{Registry: newFakeRegistry(), Clock: ClockOptions{Clock: skew.New(), Name: func() string { return "web here" }}})
	d.read(messages(old))
	l := d.View().messages[0].link
	defer d.links.close()
	if got := d.time(t.Context(), l); got != clockOld {
		t.Errorf("an old daemon is left alone for %v, want %v", got, clockOld)
	}
	stop()
	until(t, "asked again soon", func() bool { return d.time(t.Context(), l) <= clockEvery/2 })
}
