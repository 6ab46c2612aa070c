package skew

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/golang/glog"
)

const (
	looks    = 5 * time.Second // how often Run looks
	reminder = 5 * time.Minute // how often it repeats what lasts
	// calm is below what a clock must come again to be no more warned of, so that
	// one that is off by about tooFar is not warned of all the time.
	calm = 4 * time.Second
	// namedMost is how many daemons a line names.
	namedMost = 8
)

// said is what the log was told and does not know to be over.
type said struct {
	at    time.Time // the last line; zero: all is well
	worst level
	named map[string]bool // daemons of which it was warned
}

// level is how bad it is.
type level int

const (
	well      level = iota
	differing       // other clocks differ from ours
	off             // ours is the one that differs
	unready         // by more than farOff
)

// Run warns of clocks that are off until ctx ends.
func (c *Clock) Run(ctx context.Context) error {
	tick := time.NewTicker(looks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if line, warning := c.said.line(c.judge(), time.Now()); warning {
			glog.Warning(line)
		} else if line != "" {
			glog.Info(line)
		}
	}
}

// line returns what is to be said now; "": nothing.
func (s *said) line(v verdict, now time.Time) (line string, warning bool) {
	apart := v.apart(func(name string) time.Duration {
		if s.named[name] {
			return calm
		}
		return tooFar
	})
	how := well
	switch by := v.own.Abs(); {
	case by > farOff:
		how = unready
	case by > tooFar:
		how = off
	case len(apart) > 0:
		how = differing
	}
	if how == well {
		was := !s.at.IsZero()
		*s = said{}
		if was {
			return fmt.Sprintf("skew: the clocks agree again daemons=%d", len(v.others)), false
		}
		return "", false
	}
	fresh := how > s.worst
	for _, o := range apart {
		fresh = fresh || !s.named[o.name] && how == differing // if ours is off, that says it all
	}
	if !fresh && now.Sub(s.at) < reminder {
		return "", false
	}
	s.at, s.worst = now, max(s.worst, how)
	s.named = make(map[string]bool, len(apart))
	for _, o := range apart {
		s.named[o.name] = true
	}
	const fix = "set the one that is wrong and run NTP on every machine"
	switch {
	case how >= off:
		line = fmt.Sprintf("skew: the clock of this machine is %s those of most other daemons; %s ready=%t", aheadOf(v.own), fix, how != unready)
	case 2*len(apart) == len(v.others)+1:
		line = "skew: clocks differ, ours may be wrong or the others; " + fix
	default:
		line = "skew: clocks of other daemons are off; " + fix
	}
	return fmt.Sprintf("%s known=%d off=%q", line, len(v.others), list(apart)), true
}

// list names daemons and how far their clocks are ahead of ours.
func list(all []other) string {
	var b strings.Builder
	for i, o := range all {
		if i == namedMost {
			fmt.Fprintf(&b, ", and %d more", len(all)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s by %+.1fs", o.name, o.by.Seconds())
	}
	return b.String()
}
