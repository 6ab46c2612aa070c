package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"gopush-cluster/internal/testenv"
)

// The rows of the table of faults, docs/reliability.md.
const (
	rowKill      = "comet kill -9"
	rowFreeze    = "comet frozen 3 s; until it is given up, 60 s at most"
	rowMessage   = "message kill -9 in mid-save"
	rowRedis     = "Redis hung; killed; failed over"
	rowZooKeeper = "ZooKeeper down; hung; wiped"
	rowExpire    = "sessions expire, all at once"
	rowCut       = "web ↔ comet, comet ↔ message, any ↔ ZooKeeper cut, one way or both"
	rowRing      = "comet added or removed under load"
	rowClock     = "clock steps ±10 s"
	rowDisk      = "disk full (embedded)"
	rowFiles     = "file descriptors run out"
	rowSlow      = "slow or stalled clients"
	rowTurn      = "kill -9 of daemons in turn (PLAN=kills)"
	rowOthers    = "besides: web, message, standalone killed, frozen, stopped"
)

var rows = []string{rowKill, rowFreeze, rowMessage, rowRedis, rowZooKeeper, rowExpire, rowCut, rowRing, rowClock, rowDisk, rowFiles, rowSlow, rowOthers, rowTurn}

// The ways in which a connection is cut. In one way what is said does not
// arrive, and neither end is told.
var (
	ways     = []string{"refused", "silent", "silent there", "silent back", "slow"}
	waysFrom = ways[:4]
)

// cut breaks what goes through a proxy in one of the ways, mend heals it.
func cut(p *testenv.TCPProxy, way string) {
	switch way {
	case "refused":
		p.Refuse()
	case "slow":
		p.Delay(300 * time.Millisecond)
	default:
		p.Hold(way != "silent back", way != "silent there")
	}
}

func mend(p *testenv.TCPProxy, way string) {
	switch way {
	case "refused":
		p.Accept()
	case "slow":
		p.Delay(0)
	default:
		p.Hold(false, false)
	}
}

// cutFrom and mendFrom are the same for one caller alone.
func cutFrom(p *testenv.TCPProxy, who, way string) {
	if way == "refused" {
		p.RefuseFrom(who)
		return
	}
	p.HoldFrom(who, way != "silent back", way != "silent there")
}

func mendFrom(p *testenv.TCPProxy, who, way string) {
	if way == "refused" {
		p.AcceptFrom(who)
		return
	}
	p.HoldFrom(who, false, false)
}

// each returns names with something in front, so that what is broken there does
// not stand in the way of what is broken at the server itself.
func each(what string, names []string) []string {
	var targets []string
	for _, name := range names {
		targets = append(targets, what+name)
	}
	return targets
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

// troubles are the ways to break the cluster. The methods of a server end the
// test when it is not in the state that they expect: one that died by itself
// is found here.
func (r *run) troubles() []Trouble {
	c := r.c
	webs, messages := []string{"web1", "web2"}, []string{"message1", "message2"}
	daemons := without(c.daemons, c.guest)
	residents := without(daemons, c.alone)
	services := slices.Concat(webs, messages, []string{c.alone})

	launch := func(name, _ string) { c.launch(name) }
	kill := func(name, _ string) { c.servers[name].Kill() }
	pause := func(name, _ string) { c.servers[name].Pause() }
	resume := func(name, _ string) { c.servers[name].Resume() }
	stop := func(name, _ string) { c.stop(name) }
	restart := func(name, _ string) {
		c.stopped(name)
		c.launch(name)
	}
	after := func(prefix, name string) string { return name[len(prefix):] }
	short := func(t Trouble) Trouble { // as long as most are
		t.Least, t.Most = time.Second/2, 6*time.Second
		return t
	}

	all := []Trouble{
		short(Trouble{Row: rowKill, Name: "kill", Targets: c.comets, Begin: kill, Heal: launch}),
		{ // until it is given up
			Row: rowKill, Name: "lose", Targets: c.comets, Least: 12 * time.Second, Most: 20 * time.Second, Begin: kill, Heal: launch,
		},
		{Row: rowFreeze, Name: "freeze", Targets: c.comets, Least: time.Second, Most: 3500 * time.Millisecond, Begin: pause, Heal: resume},
		{ // the same for one that comes back and knows of nothing
			Row: rowFreeze, Name: "freeze for long", Targets: c.comets, Least: 18 * time.Second, Most: time.Minute, Begin: pause, Heal: resume,
		},
		short(Trouble{ // what it was about to save hangs in Redis, and may be saved
			Row: rowMessage, Name: "kill in mid-save", Targets: messages, With: c.redis,
			Begin: func(name, _ string) {
				for _, redis := range c.redis {
					c.servers[redis].Pause()
				}
				time.Sleep(200 * time.Millisecond) // for calls to pile up
				c.servers[name].Kill()
				for _, redis := range c.redis {
					c.servers[redis].Resume()
				}
			},
			Heal: launch,
		}),
		{Row: rowZooKeeper, Name: "kill", Targets: []string{"zookeeper"}, Least: time.Second / 2, Most: 20 * time.Second, Begin: kill, Heal: launch},
		{ // all it knew is gone, and what it says is younger than what they know
			Row: rowZooKeeper, Name: "wipe", Targets: []string{"zookeeper"}, Least: 6 * time.Second, Most: 12 * time.Second,
			Begin: func(string, string) { c.zk.Wipe() }, Heal: func(string, string) {},
		},
		short(Trouble{Row: rowZooKeeper, Name: "freeze", Targets: []string{"zookeeper"}, Begin: pause, Heal: resume}),
		{
			Row: rowExpire, Name: "cut from zookeeper", Targets: []string{"everybody"}, With: each("zookeeper and ", residents),
			Least: 5 * time.Second, Most: 7 * time.Second,
			Begin: func(string, string) {
				for _, p := range c.proxies {
					p.Refuse()
				}
			},
			Heal: func(string, string) {
				for _, p := range c.proxies {
					p.Accept()
				}
			},
		},
		short(Trouble{
			Row: rowCut, Name: "cut", Targets: each("zookeeper and ", residents), Ways: ways,
			Begin: func(target, way string) { cut(c.proxies[after("zookeeper and ", target)], way) },
			Heal:  func(target, way string) { mend(c.proxies[after("zookeeper and ", target)], way) },
		}),
		short(Trouble{ // it lives, and keeps its clients, but nobody can call it
			Row: rowCut, Name: "cut", Targets: each("callers and ", slices.Concat(c.comets, messages)), Ways: ways,
			Begin: func(target, way string) { cut(c.doors[after("callers and ", target)], way) },
			Heal:  func(target, way string) { mend(c.doors[after("callers and ", target)], way) },
		}),
		short(r.link("comets and ", webs, append(c.comets[:3:3], c.guest))),
		short(r.link("messages and ", slices.Concat(webs, c.comets), messages)),
		{ // it comes for the first time, as far as anybody knows, and leaves for good, or dies
			Row: rowRing, Name: "join", Targets: []string{c.guest}, Ways: []string{"leaves", "leaves", "dies"},
			Least: 3 * time.Second, Most: 10 * time.Second, Begin: launch,
			Heal: func(name, way string) {
				if way == "dies" {
					c.servers[name].Kill()
					return
				}
				c.stop(name)
				c.stopped(name)
			},
		},
		short(Trouble{ // SIGTERM: a comet leaves the ring, and comes back into it
			Row: rowRing, Name: "stop", Targets: without(c.comets, c.keeping), Begin: stop, Heal: restart,
		}),
		{ // SIGTERM: its place in the ring waits for it, mostly
			Row: rowRing, Name: "restart in place", Targets: []string{c.keeping},
			Least: time.Second / 2, Most: testKeep + 5*time.Second, Begin: stop, Heal: restart,
		},
		{ // more of the keys, until it is restarted or as many as before are to be its own
			Row: rowRing, Name: "weight", Targets: each("weight of ", c.comets), Least: 2 * time.Second, Most: 8 * time.Second,
			Begin: func(target, _ string) { c.gopush("weight", node(after("weight of ", target)), "3") },
			Heal:  func(target, _ string) { c.gopush("weight", node(after("weight of ", target)), "1") },
		},
		{
			Row: rowClock, Name: "step", Targets: each("clock of ", daemons), Ways: []string{"10s", "-10s"},
			Least: time.Second, Most: 15 * time.Second,
			Begin: func(target, way string) { r.step(after("clock of ", target), way) },
			Heal:  func(target, _ string) { r.step(after("clock of ", target), "0s") },
		},
		short(Trouble{
			Row: rowFiles, Name: "no descriptors", Targets: slices.Concat(residents, []string{c.alone}),
			Begin: func(name, _ string) { r.limitFiles(name) }, Heal: func(name, _ string) { r.freeFiles(name) },
		}),
		{
			Row: rowSlow, Name: "stop reading", Targets: []string{"clients 1", "clients 2", "clients 3"}, Least: time.Second, Most: 4 * time.Second,
			Begin: func(target, _ string) { r.valves[target].Close() }, Heal: func(target, _ string) { r.valves[target].Open() },
		},
		{
			Row: rowSlow, Name: "never read", Targets: []string{"a crowd"}, Least: 3 * time.Second, Most: 12 * time.Second,
			Begin: func(string, string) { r.gather() }, Heal: func(string, string) { r.disperse() },
		},
		short(Trouble{Row: rowOthers, Name: "kill", Targets: services, Begin: kill, Heal: launch}),
		short(Trouble{Row: rowOthers, Name: "freeze", Targets: services, Begin: pause, Heal: resume}),
		short(Trouble{Row: rowOthers, Name: "stop", Targets: services, Begin: stop, Heal: restart}),
	}
	if c.pair == nil {
		all = append(all,
			short(Trouble{Row: rowRedis, Name: "freeze", Targets: c.redis, Begin: pause, Heal: resume}),
			short(Trouble{Row: rowRedis, Name: "kill", Targets: c.redis, Begin: kill, Heal: launch}),
		)
	} else {
		all = append(all, r.failover())
	}
	if c.disk != "" {
		all = append(all, short(Trouble{
			Row: rowDisk, Name: "full", Targets: []string{"disk of " + c.alone},
			Begin: func(string, string) { r.fill() }, Heal: func(string, string) { r.empty() },
		}))
	}
	return all
}

// failover takes the master away until the Sentinels have made the other one the
// master, and then brings it back as its replica.
func (r *run) failover() Trouble {
	c, lost := r.c, ""
	return Trouble{
		Row: rowRedis, Name: "fail over", Targets: []string{"redis"}, Ways: []string{"kill", "freeze"}, Least: 6 * time.Second, Most: 12 * time.Second,
		Begin: func(_, way string) {
			testenv.Eventually(r.t, time.Minute, func() (err error) {
				lost, err = c.master()
				return err
			})
			if way == "kill" {
				c.servers[lost].Kill()
			} else {
				c.servers[lost].Pause()
			}
		},
		Heal: func(_, way string) {
			testenv.Eventually(r.t, time.Minute, func() error {
				now, err := c.master()
				if err == nil && now == lost {
					err = fmt.Errorf("%s is gone, and still the master", lost)
				}
				return err
			})
			if way == "kill" {
				c.launch(lost)
			} else {
				c.servers[lost].Resume()
			}
			testenv.Eventually(r.t, time.Minute, c.pair[lost].Follows)
		},
	}
}

// series are the troubles of -plan=kills: 200 kills in turn, 50 restarts of
// ZooKeeper, 50 expiries of all sessions, 20 comets added and removed.
func (r *run) series(all []Trouble) []Series {
	part := func(n int) int { return max(1, n**scale/100) }
	var series []Series
	for _, t := range all {
		switch {
		case t.Row == rowKill && t.Name == "kill":
			t.Row = rowTurn
			t.Targets, t.Most = without(r.c.daemons, r.c.guest), 3*time.Second
			series = append(series, Series{t, part(200), time.Second})
		case t.Row == rowZooKeeper && t.Name == "kill":
			t.Most = 3 * time.Second
			series = append(series, Series{t, part(50), 10 * time.Second})
		case t.Row == rowExpire:
			series = append(series, Series{t, part(50), 6 * time.Second})
		case t.Name == "join":
			series = append(series, Series{t, part(20), 15 * time.Second})
		}
	}
	return series
}

// link is one caller cut off from all of a kind, which the others reach.
func (r *run) link(kind string, callers, called []string) Trouble {
	of := func(do func(p *testenv.TCPProxy, who, way string)) func(string, string) {
		return func(target, way string) {
			for _, name := range called {
				do(r.c.doors[name], target[len(kind):], way)
			}
		}
	}
	return Trouble{Row: rowCut, Name: "cut", Targets: each(kind, callers), Ways: waysFrom, Begin: of(cutFrom), Heal: of(mendFrom)}
}

// step steps the clock of a daemon, and notes by how much it is off. That is never
// less than it is: noted before it goes wrong, and after it is right.
func (r *run) step(name, by string) {
	off, err := time.ParseDuration(by)
	note := func() { r.rec.Add(Event{Kind: Clock, Note: name, Off: off}) }
	if off != 0 {
		note()
	}
	if err == nil {
		err = os.WriteFile(r.c.clocks[name], []byte(by), 0o600)
	}
	if err != nil {
		r.t.Error(err)
	}
	if off == 0 {
		note()
	}
}

// limitFiles leaves a daemon as many descriptors as it has open, and no more.
func (r *run) limitFiles(name string) {
	pid := r.c.servers[name].Pid()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	var old unix.Rlimit
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old)
	}
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)), Max: old.Max}, nil)
	}
	if err != nil {
		r.t.Errorf("take the descriptors from %s: %v", name, err)
	}
}

// freeFiles gives it all that it may have.
func (r *run) freeFiles(name string) {
	pid := r.c.servers[name].Pid()
	var old unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old)
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: old.Max, Max: old.Max}, nil)
	}
	if err != nil {
		r.t.Errorf("give %s its descriptors back: %v", name, err)
	}
}

// fill leaves no room on the disk of the embedded store; empty gives it back.
func (r *run) fill() {
	f, err := os.Create(r.ballast())
	if err != nil {
		r.t.Error(err)
		return
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2] // the last bytes as well
		}
	}
}

func (r *run) empty() {
	if err := os.Remove(r.ballast()); err != nil {
		r.t.Error(err)
	}
}

func (r *run) ballast() string { return filepath.Join(r.c.disk, "ballast") }

// gather subscribes sockets that never read; disperse closes them.
func (r *run) gather() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r.crowd = Crowd(ctx, r.http, r.c.webs, r.keysNow(), r.opt.crowd)
	r.t.Logf("          a crowd of %d", len(r.crowd))
}

func (r *run) disperse() {
	for _, conn := range r.crowd {
		conn.Close()
	}
	r.crowd = []net.Conn(nil)
}
