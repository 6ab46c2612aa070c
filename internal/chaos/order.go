package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkSockets: on a socket mids rise strictly, from the one that was given
// (I3), and no message comes twice, not even under another mid (I6).
func checkSockets(x *index, report func(Violation)) {
	for _, s := range x.sockets {
		k := x.key(s.key)
		mids, bodies := make(map[int64]bool), make(map[string]int)
		last := s.after
		for _, m := range s.got {
			v := Violation{At: m.at, key: s.key, bodies: []string{m.Body}, mids: []int64{m.Mid}, socket: s.id}
			bodies[m.Body]++
			switch pushed := len(k.group(m.Body).pushes); {
			case mids[m.Mid]:
				v.Invariant, v.Text = "I6", fmt.Sprintf("%s: mid %d comes twice on socket %d: %s", s.key, m.Mid, s.id, m.Body)
				report(v)
			case pushed > 0 && bodies[m.Body] > pushed:
				v.Invariant, v.Text = "I6", fmt.Sprintf("%s: pushed %d times, comes %d times on socket %d: mid %d %s", s.key, pushed, bodies[m.Body], s.id, m.Mid, m.Body)
				v.mids = k.group(m.Body).mids
				report(v)
			case m.Mid <= last:
				v.Invariant, v.Text = "I3", fmt.Sprintf("%s: mid %d behind %d on socket %d: %s", s.key, m.Mid, last, s.id, m.Body)
				v.mids = append(v.mids, last)
				report(v)
			}
			mids[m.Mid] = true
			last = m.Mid
		}
	}
}

// checkFetches: a fetch shows mids above the one asked for, rising strictly (I3).
func checkFetches(x *index, report func(Violation)) {
	for _, f := range x.fetches {
		last := f.after
		for _, m := range f.msgs {
			if m.Mid <= last {
				report(Violation{
					Invariant: "I3", At: f.end, key: f.key, bodies: []string{m.Body}, mids: []int64{m.Mid, last}, fetch: f.id,
					Text: fmt.Sprintf("%s: mid %d behind %d in fetch %d from %d: %s", f.key, m.Mid, last, f.id, f.after, m.Body),
				})
			}
			last = m.Mid
		}
	}
}

// checkSequence: a push that was acknowledged before another began has the
// smaller mid (I3). The two may have gone any way, through any daemons.
//
// This is about stored messages. One with expire 0 gets its mid from a comet
// alone, above all that the comet gave the key, so it may lie below a message
// that web has stored past a comet out of reach. On every socket they still rise.
func checkSequence(x *index, report func(Violation)) {
	type known struct {
		*push
		end time.Duration // acknowledged
		mid int64
	}
	for _, k := range x.keys {
		var began []known
		for _, g := range k.groups {
			if p, m, ok := g.single(); ok && p.expire > 0 && p.acked(k.key) {
				began = append(began, known{p, p.ackedAt(k.key), m})
			}
		}
		slices.SortFunc(began, func(a, b known) int { return cmp.Compare(a.begin, b.begin) })
		ended := slices.Clone(began)
		slices.SortFunc(ended, func(a, b known) int { return cmp.Compare(a.end, b.end) })
		var top known // the largest mid of those that ended before the next one began
		for _, p := range began {
			for len(ended) > 0 && ended[0].end < p.begin {
				if top.push == nil || ended[0].mid > top.mid {
					top = ended[0]
				}
				ended = ended[1:]
			}
			if top.push != nil && p.mid <= top.mid {
				report(Violation{
					Invariant: "I3", At: p.end, key: k.key, bodies: []string{p.body, top.body}, mids: []int64{p.mid, top.mid},
					Text: fmt.Sprintf("%s: push %d was acknowledged before push %d began, and their mids are %d and %d: %s",
						k.key, top.tries[0].id, p.tries[0].id, top.mid, p.mid, p.body),
				})
			}
		}
	}
}
