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
// one at a time, and sideBySide of them overlap at most. All take their turns, in
// another order each round; one that finds no place waits for the next. The
// seed decides all.
func Plan(seed uint64, d time.Duration, troubles []Trouble) []Step {
	rnd := rand.New(rand.NewPCG(seed, 3))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rnd.Int64N(int64(most-least)+1))
	}
	var steps []Step
	var turns []int                           // the troubles whose turn is still to come
	rests := make(map[string]time.Duration)   // until when each target is left alone
	over := make([]time.Duration, sideBySide) // when each of the troubles side by side ends
	begin := func(at time.Duration) bool {    // the first of them that finds a place
		for i, n := range turns {
			t := &troubles[n]
			target := t.Targets[rnd.IntN(len(t.Targets))]
			end := at + between(t.Least, t.Most)
			if end > d || at < rests[target] {
				continue
			}
			turns = slices.Delete(turns, i, i+1)
			over[0] = end
			rests[target] = end + respite
			steps = append(steps, Step{at, t, target, false}, Step{end, t, target, true})
			return true
		}
		return false
	}
	at := time.Duration(0)
	for {
		at += between(leastCalm, mostCalm)
		slices.Sort(over)
		at = max(at, over[0])
		if at >= d {
			break
		}
		if !begin(at) { // the next round, behind those that wait
			for _, n := range rnd.Perm(len(troubles)) {
				if !slices.Contains(turns, n) {
					turns = append(turns, n)
				}
			}
			begin(at)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return steps
}
