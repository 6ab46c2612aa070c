package web

import (
	"slices"
	"time"

	"gopush-cluster/internal/registry"
)

const (
	// keepMost is how long a node's keep is believed after its comet went: what
	// another's clock, or a mistake, put there must not hold it for ever.
	keepMost = time.Hour
	// dozed is the longest pause between two looks after which what was seen
	// before still counts. Longer, and it was this web that slept.
	dozed = 10 * time.Second
)

// heard is what came of pinging one comet.
type heard int

const (
	nothing  heard = iota // it was not asked, or the trouble was our own: no sign of anything
	silence               // refused, or no answer in time
	anAnswer              // of whatever kind
)

// verdict decides which nodes of the ring are abandoned (docs/design/ring.md,
// "The reaper"). It only thinks: it is told the time, what is registered and
// what came of the pings. It belongs to one goroutine.
type verdict struct {
	rules Reap

	looked time.Time
	gone   map[string]time.Time // node → since when it has no child
	silent map[string]streak    // address → pings that failed since its last answer
	taken  time.Time            // when a registered comet was last given up
}

// streak is a row of pings that failed.
type streak struct {
	pings int
	since time.Time
}

// look takes note of who is registered now. It wants to be called often, and
// whenever that changes.
func (v *verdict) look(now time.Time, nodes []registry.Node) {
	if now.Sub(v.looked) > dozed {
		v.gone = nil
		v.doubt()
	}
	v.looked = now
	gone := make(map[string]time.Time)
	for _, n := range nodes {
		if len(n.Children) > 0 {
			continue
		}
		since, ok := v.gone[n.Name]
		if !ok {
			since = now
		}
		gone[n.Name] = since
	}
	v.gone = gone
}

// doubt forgets what came of pings: nobody asked for a while.
func (v *verdict) doubt() { v.silent = nil }

// judge returns the nodes to remove, after a look at the same nodes. answers
// says what came of a round of pings, by address.
func (v *verdict) judge(now time.Time, nodes []registry.Node, answers map[string]heard) []registry.Node {
	v.count(now, nodes, answers)
	reached := reach(registered(nodes), answers)
	if reached.all > 0 && reached.answered == 0 {
		return nil // this web is cut off, for all it knows
	}
	var dead []registry.Node
	for _, n := range nodes {
		if v.abandoned(now, n, nodes, answers) {
			dead = append(dead, n)
		}
	}
	if now.Sub(v.taken) < v.rules.Interval.D() {
		return dead
	}
	hung := slices.DeleteFunc(slices.Clone(nodes), func(n registry.Node) bool {
		last := len(nodes)-len(dead) == 1 && len(n.Children) == 1
		return last || !v.hung(now, n, nodes, answers)
	})
	if len(hung) > 0 {
		v.taken = now
		dead = append(dead, slices.MinFunc(hung, func(a, b registry.Node) int {
			return v.silent[a.Info().Addr()].since.Compare(v.silent[b.Info().Addr()].since)
		}))
	}
	return dead
}

// count adds a round of pings to the streaks.
func (v *verdict) count(now time.Time, nodes []registry.Node, answers map[string]heard) {
	silent := make(map[string]streak)
	for _, at := range registered(nodes) {
		s := v.silent[at]
		switch answers[at] {
		case anAnswer:
			continue
		case silence:
			if s.pings == 0 {
				s.since = now
			}
			s.pings++
		}
		if s.pings > 0 {
			silent[at] = s
		}
	}
	v.silent = silent
}

// abandoned is rule (a): n's comet is not registered any more, long enough for
// one that only lost its session to have come back, and it does not answer
// where it was last.
func (v *verdict) abandoned(now time.Time, n registry.Node, nodes []registry.Node, answers map[string]heard) bool {
	since, gone := v.gone[n.Name]
	if !gone || now.Before(n.Keep) && now.Sub(since) < keepMost {
		return false
	}
	at := n.Last.Addr()
	if at == "" || slices.Contains(registered(nodes), at) { // there lives another node's comet now
		return now.Sub(since) >= v.rules.Window.D()
	}
	return now.Sub(since) >= v.rules.Grace.D() && answers[at] == silence
}

// hung is rule (b): n's comet is registered, but does not answer for long, while
// this web reaches most of the others.
func (v *verdict) hung(now time.Time, n registry.Node, nodes []registry.Node, answers map[string]heard) bool {
	c, ok := n.Active()
	if !ok {
		return false
	}
	at := c.Info.Addr()
	s := v.silent[at]
	if answers[at] != silence || s.pings < v.rules.Failures || now.Sub(s.since) < v.rules.Window.D() {
		return false
	}
	others := reach(slices.DeleteFunc(registered(nodes), func(p string) bool { return p == at }), answers)
	return 2*others.answered > others.all
}

// blind reports whether a round of pings reached none of the comets that are
// registered: whoever sees so little leaves the work to another web.
func blind(nodes []registry.Node, answers map[string]heard) bool {
	r := reach(registered(nodes), answers)
	return r.all > 0 && r.answered == 0
}

// reached counts places.
type reached struct{ answered, all int }

func reach(places []string, answers map[string]heard) reached {
	r := reached{all: len(places)}
	for _, at := range places {
		if answers[at] == anAnswer {
			r.answered++
		}
	}
	return r
}

// places returns where comets are, or were last.
func places(nodes []registry.Node) []string {
	all := registered(nodes)
	for _, n := range nodes {
		if len(n.Children) == 0 {
			all = append(all, n.Last.Addr())
		}
	}
	return distinct(all)
}

// registered returns the places of all comets that are registered, standbys too.
func registered(nodes []registry.Node) []string {
	var places []string
	for _, n := range nodes {
		for _, c := range n.Children {
			places = append(places, c.Info.Addr())
		}
	}
	return distinct(places)
}

// distinct returns places sorted, each once, without the empty one.
func distinct(places []string) []string {
	slices.Sort(places)
	places = slices.Compact(places)
	return slices.DeleteFunc(places, func(p string) bool { return p == "" })
}
