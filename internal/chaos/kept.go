package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkKept: an acknowledged message is in every fetch that asks for it, until
// it expires or Store newer ones have pushed it out (I1). Of a push to many keys
// the ones that fk does not name are acknowledged (I8).
func checkKept(x *index, report func(Violation)) {
	told := make(map[*group]bool)
	for _, f := range x.fetches {
		k := x.key(f.key)
		present := make(map[string]int)
		for _, m := range f.msgs {
			present[m.Body]++
		}
		for _, g := range k.groups {
			if told[g] {
				continue
			}
			owed := x.owed(g, f)
			if len(owed) > present[g.body] { // seldom, and the question is a long one
				owed = slices.DeleteFunc(owed, func(p *push) bool { return x.pushedOut(g, p, f) })
			}
			if len(owed) <= present[g.body] {
				continue
			}
			told[g] = true
			v := Violation{
				Invariant: "I1", At: f.end, key: f.key, bodies: []string{g.body}, mids: g.mids, fetch: f.id,
				Text: fmt.Sprintf("%s: acknowledged %d times and %d times in fetch %d from mid %d: %s",
					f.key, len(owed), present[g.body], f.id, f.after, g.body),
			}
			report(v)
			if owed[0].many {
				v.Invariant = "I8"
				v.Text = fmt.Sprintf("%s: fk of push %d does not name the key, and the message is not kept: %s", f.key, owed[0].tries[0].id, g.body)
				report(v)
			}
		}
	}
}

// owed returns the pushes of g that f had to show, but for those that were
// pushed out.
func (x *index) owed(g *group, f *fetch) []*push {
	var owed []*push
	for _, p := range g.pushes {
		if p.expire == 0 || p.ackedAt(g.key.key) >= f.begin || f.end >= x.owedUntil(p, f.end) {
			continue
		}
		if f.after > 0 {
			// Only what is surely above the mid that was asked for.
			if _, m, ok := g.single(); !ok || m <= f.after {
				continue
			}
		}
		owed = append(owed, p)
	}
	return owed
}

// pushedOut reports whether Store newer messages may have taken p's place before
// f was answered. The oldest goes first, so none has if f shows an older one.
func (x *index) pushedOut(g *group, p *push, f *fetch) bool {
	if _, m, ok := g.single(); ok && slices.ContainsFunc(f.msgs, func(o Message) bool { return o.Mid < m }) {
		return false
	}
	return g.key.outnumbered(p, f.end, x.limits.Store)
}

// outnumbered reports whether n stored messages of the key or more may be newer
// than p by the time given: all that were not acknowledged before p began.
func (k *keyIndex) outnumbered(p *push, by time.Duration, n int) bool {
	begun := func(at time.Duration) int { // how many began before
		i, _ := slices.BinarySearchFunc(k.stored, at, func(q *push, at time.Duration) int { return cmp.Compare(q.begin, at) })
		return i
	}
	before, until := begun(p.begin), begun(by)
	n -= until - before - 1 // all of those, but for p
	for _, q := range k.stored[:before] {
		if n <= 0 {
			break
		}
		if q.ackedAt(k.key) >= p.begin {
			n--
		}
	}
	return n <= 0
}

// checkAnswers: fk names keys of the push, each once (I8).
func checkAnswers(x *index, report func(Violation)) {
	for _, p := range x.pushes {
		for _, t := range p.tries {
			for i, key := range t.failed {
				if !slices.Contains(p.keys, key) || slices.Contains(t.failed[:i], key) {
					report(Violation{
						Invariant: "I8", At: t.end, key: p.keys[0], bodies: []string{p.body},
						Text: fmt.Sprintf("push %d to %q is answered with fk %q", t.id, p.keys, t.failed),
					})
					break
				}
			}
		}
	}
}

// checkExpiry: what has expired, or was never to be stored, is in no fetch, and
// arrives on no socket (I9).
func checkExpiry(x *index, report func(Violation)) {
	told := make(map[*group]bool)
	over := func(key string, m Message, at, by time.Duration, fetch, socket int, slack time.Duration) {
		g := x.key(key).group(m.Body)
		if told[g] || len(g.pushes) == 0 { // nobody pushed it: I5
			return
		}
		for _, p := range g.pushes {
			if p.expire == 0 && socket > 0 {
				return
			}
			if until := x.servedUntil(p, by); p.expire > 0 && (until == forever || at <= until+slack) {
				return
			}
		}
		told[g] = true
		text := fmt.Sprintf("%s: served %v after it was pushed to expire in %v: %s",
			key, at-g.pushes[len(g.pushes)-1].begin, g.pushes[len(g.pushes)-1].expire, m.Body)
		report(Violation{Invariant: "I9", At: at, key: key, bodies: []string{m.Body}, mids: g.mids, fetch: fetch, socket: socket, Text: text})
	}
	for _, f := range x.fetches {
		for _, m := range f.msgs {
			over(f.key, m, f.begin, f.end, f.id, 0, 0)
		}
	}
	for _, s := range x.sockets {
		for _, m := range s.got {
			over(s.key, m.Message, m.at, m.at, 0, s.id, x.limits.Late)
		}
	}
}
