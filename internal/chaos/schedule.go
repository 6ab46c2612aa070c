package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Trouble is one way to break things. Another kind is another value.
type Trouble struct {
	Row         string   // of the table of faults that it belongs to
	Name        string   // of its own
	Targets     []string // what it may break, one at a time
	With        []string // what it touches as well
	Ways        []string // in which of them; none: there is one
	Least, Most time.Duration
	Begin, Heal func(target, way string)
}

// Bout is one trouble with one target, from its beginning until it is healed.
type Bout struct {
	*Trouble
	Target, Way string
	Begins      time.Duration
	Ends        time.Duration
}

const (
	sideBySide = 4               // troubles at a time
	respite    = 3 * time.Second // of a target, between two of its troubles
	leastCalm  = 200 * time.Millisecond
	mostCalm   = 1500 * time.Millisecond // between two beginnings
)

// planner places bouts so that a target has one at a time.
type planner struct {
	rnd   *rand.Rand
	rests map[string]time.Duration // until when each target is left alone
	bouts []Bout
}

func newPlanner(seed uint64) *planner {
	return &planner{rnd: rand.New(rand.NewPCG(seed, 3)), rests: make(map[string]time.Duration)}
}

func (p *planner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(p.rnd.Int64N(int64(most-least)+1))
}

// place places t at the time given, if it finds a target that is left alone and
// ends before d. It returns when that is.
func (p *planner) place(t *Trouble, at, d time.Duration) (end time.Duration, ok bool) {
	target, way := t.Targets[p.rnd.IntN(len(t.Targets))], ""
	if len(t.Ways) > 0 {
		way = t.Ways[p.rnd.IntN(len(t.Ways))]
	}
	end = at + p.between(t.Least, t.Most)
	touched := append([]string{target}, t.With...)
	if end > d || slices.ContainsFunc(touched, func(name string) bool { return at < p.rests[name] }) {
		return 0, false
	}
	for _, name := range touched {
		p.rests[name] = end + respite
	}
	p.bouts = append(p.bouts, Bout{t, target, way, at, end})
	return end, true
}

// Plan fills d with troubles: each begins and is healed within it, a target has
// one at a time, and sideBySide of them overlap at most. All take their turns, in
// another order each round; one that finds no place waits for the next. The
// seed decides all.
func Plan(seed uint64, d time.Duration, troubles []Trouble) []Bout {
	p := newPlanner(seed)
	var turns []int                           // the troubles whose turn is still to come
	over := make([]time.Duration, sideBySide) // when each of the troubles side by side ends
	begin := func(at time.Duration) bool {    // the first of them that finds a place
		for i, n := range turns {
			if end, ok := p.place(&troubles[n], at, d); ok {
				over[0] = end
				turns = slices.Delete(turns, i, i+1)
				return true
			}
		}
		return false
	}
	at := time.Duration(0)
	for {
		at += p.between(leastCalm, mostCalm)
		slices.Sort(over)
		at = max(at, over[0])
		if at >= d {
			return p.bouts
		}
		if !begin(at) { // the next round, behind those that wait
			for _, n := range p.rnd.Perm(len(troubles)) {
				if !slices.Contains(turns, n) {
					turns = append(turns, n)
				}
			}
			begin(at)
		}
	}
}

// Series is one trouble that comes again and again.
type Series struct {
	Trouble
	Times int
	Calm  time.Duration // about, between two of its bouts
}

// PlanSeries has each series come as often as it says, side by side with the
// others. Where a target needs to be left alone, its bout waits.
func PlanSeries(seed uint64, all []Series) []Bout {
	p := newPlanner(seed)
	next, left := make([]time.Duration, len(all)), make([]int, len(all))
	for i, s := range all {
		left[i] = s.Times
		next[i] = p.between(0, s.Calm)
	}
	for {
		first := -1
		for i := range all {
			if left[i] > 0 && (first < 0 || next[i] < next[first]) {
				first = i
			}
		}
		if first < 0 {
			return p.bouts
		}
		s := &all[first]
		if end, ok := p.place(&s.Trouble, next[first], forever); ok {
			left[first]--
			next[first] = end + p.between(s.Calm/2, s.Calm*3/2)
		} else {
			next[first] += leastCalm
		}
	}
}

// End returns when the last bout is over.
func End(bouts []Bout) time.Duration {
	end := time.Duration(0)
	for _, b := range bouts {
		end = max(end, b.Ends)
	}
	return end
}
