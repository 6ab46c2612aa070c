package skew

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// tooFar is by how much clocks may differ without a warning: NTP keeps them
	// within milliseconds, and a round trip that counts is wrong by half a second.
	tooFar = 5 * time.Second
	// farOff is from where on a daemon is not ready. Comets count on what a ready
	// daemon saves being less than 120 s behind their own clock.
	farOff = 60 * time.Second
)

// verdict is what the offsets say that are known at one moment.
type verdict struct {
	own    time.Duration // how far our clock is ahead of the median of all
	others []other       // every daemon of which something is known, by name
}

// other is another daemon and how far its clock is ahead of ours.
type other struct {
	name string
	by   time.Duration
}

// judge looks at all offsets, and forgets the old ones.
func (c *Clock) judge() verdict {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var v verdict
	for _, name := range slices.Sorted(maps.Keys(c.peers)) {
		if by, ok := c.peers[name].current(now); ok {
			v.others = append(v.others, other{name, by})
		} else {
			delete(c.peers, name)
		}
	}
	v.own = -v.median()
	return v
}

// median returns that of the others' offsets and our own, 0. Of the two in the
// middle of an even number it is the one nearer to 0: where half of the daemons
// agree with us, we are not the one who is wrong.
func (v verdict) median() time.Duration {
	all := []time.Duration{0}
	for _, o := range v.others {
		all = append(all, o.by)
	}
	slices.Sort(all)
	a, b := all[(len(all)-1)/2], all[len(all)/2]
	if a.Abs() <= b.Abs() {
		return a
	}
	return b
}

// apart returns the others whose clocks differ from ours by more than limit says,
// the farthest first.
func (v verdict) apart(limit func(name string) time.Duration) []other {
	var all []other
	for _, o := range v.others {
		if o.by.Abs() > limit(o.name) {
			all = append(all, o)
		}
	}
	slices.SortStableFunc(all, func(a, b other) int { return cmp.Compare(b.by.Abs(), a.by.Abs()) })
	return all
}

// Off returns how far this daemon's clock is ahead of most others', 0 as long as
// nothing is known of any.
func (c *Clock) Off() time.Duration { return c.judge().own }

// Ready returns nil unless this daemon's clock is so far off that what it saves
// may be lost to clients.
func (c *Clock) Ready() error {
	v := c.judge()
	if v.own.Abs() <= farOff {
		return nil
	}
	return fmt.Errorf("the clock of this machine is %s those of most other daemons (%d are known): set it, and let NTP keep it",
		aheadOf(v.own), len(v.others))
}

// aheadOf says in words how far a clock is ahead: "10s ahead of", "10s behind".
func aheadOf(by time.Duration) string {
	by = by.Round(100 * time.Millisecond)
	if by < 0 {
		return fmt.Sprintf("%v behind", -by)
	}
	return fmt.Sprintf("%v ahead of", by)
}
