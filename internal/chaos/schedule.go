package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Trouble is one way to break things. Another kind is another value.
type Trouble struct {
	Name        string
	Targets     []string // what it may break, one at a time
	Least, Most time.Duration
	Begin, Heal func(target string)
}

// Step is the beginning or the end of one trouble with one target.
type Step struct {
	At      time.Duration
	Trouble *Trouble
	Target  string
	Heal    bool
}

const (
	sideBySide = 3               // troubles at a time
	respite    = 3 * time.Second // of a target, between two of its troubles
	leastCalm  = 200 * time.Millisecond
	mostCalm   = 1500 * time.Millisecond // between two beginnings
)

// Plan fills d with troubles: each begins and is healed within it, a target has
// one at a time, and sideBySide of them overlap at most. The seed decides all.
func Plan(seed uint64, d time.Duration, troubles []Trouble) []Step {
	rnd := rand.New(rand.NewPCG(seed, 3))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rnd.Int64N(int64(most-least)+1))
	}
	var steps []Step
	rests := make(map[string]time.Duration)   // until when each target is left alone
	over := make([]time.Duration, sideBySide) // when each of the troubles side by side ends
	at := time.Duration(0)
	for {
		at += between(leastCalm, mostCalm)
		slices.Sort(over)
		at = max(at, over[0])
		if at >= d {
			break
		}
		t := &troubles[rnd.IntN(len(troubles))]
		target := t.Targets[rnd.IntN(len(t.Targets))]
		end := at + between(t.Least, t.Most)
		if end > d || at < rests[target] {
			continue
		}
		over[0] = end
		rests[target] = end + respite
		steps = append(steps, Step{at, t, target, false}, Step{end, t, target, true})
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return steps
}
