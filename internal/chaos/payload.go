package chaos

import "fmt"

// checkPayloads: one key and mid is one payload wherever it is seen (I2), and
// every message was pushed to the very key it is seen on, and before (I5).
//
// Two messages with expire 0 may share a mid: nobody but their comets knew the
// first one's, and that comet was killed. On one socket they never do (I6).
func checkPayloads(x *index, report func(Violation)) {
	told := make(map[string]bool) // by invariant, key and mid
	look := func(v Violation, key string, m Message) {
		v.key, v.bodies, v.mids = key, []string{m.Body}, []int64{m.Mid}
		say := func(invariant, text string) {
			id := fmt.Sprintf("%s %s %d", invariant, key, m.Mid)
			if told[id] {
				return
			}
			told[id] = true
			v.Invariant, v.Text = invariant, text
			report(v)
		}
		k := x.key(key)
		if first := k.bodies[m.Mid]; first != m.Body && (k.group(first).stored() || k.group(m.Body).stored()) {
			say("I2", fmt.Sprintf("%s: mid %d is %s here and %s elsewhere", key, m.Mid, m.Body, first))
		}
		pushes := k.group(m.Body).pushes
		switch {
		case len(pushes) == 0:
			say("I5", fmt.Sprintf("%s: nobody pushed this to the key: mid %d %s", key, m.Mid, m.Body))
		case pushes[0].begin > v.At:
			say("I5", fmt.Sprintf("%s: seen before it was pushed: mid %d %s", key, m.Mid, m.Body))
		case m.Gid != 0:
			say("I5", fmt.Sprintf("%s: gid %d, and all pushes were private: mid %d %s", key, m.Gid, m.Mid, m.Body))
		}
	}
	for _, s := range x.sockets {
		for _, m := range s.got {
			look(Violation{At: m.at, socket: s.id}, s.key, m.Message)
		}
	}
	for _, f := range x.fetches {
		for _, m := range f.msgs {
			look(Violation{At: f.end, fetch: f.id}, f.key, m)
		}
	}
}

// checkCopies: a body is seen under no more mids than it was pushed (I5), where
// all tries with one Idempotency-Key are one push. If one of them was not
// acknowledged, that one came twice (I7).
//
// What is not stored gets its mid from each comet that has clients of the key,
// and while the key moves there are two. So it is counted for each client.
func checkCopies(x *index, report func(Violation)) {
	for _, k := range x.keys {
		for _, g := range k.groups {
			if len(g.pushes) == 0 || len(g.mids) <= len(g.pushes) || !g.stored() {
				continue
			}
			v := Violation{
				Invariant: "I5", At: g.pushes[len(g.pushes)-1].begin, key: k.key, bodies: []string{g.body}, mids: g.mids,
				Text: fmt.Sprintf("%s: pushed %d times and seen under %d mids, %v: %s", k.key, len(g.pushes), len(g.mids), g.mids, g.body),
			}
			for _, p := range g.pushes {
				if p.failedOnce(k.key) {
					v.Invariant = "I7"
				}
			}
			report(v)
		}
	}
	type seen struct {
		client int
		group  *group
	}
	times := make(map[seen]int)
	for _, s := range x.sockets {
		for _, m := range s.got {
			of := seen{s.client, x.key(s.key).group(m.Body)}
			if len(of.group.pushes) == 0 || of.group.stored() {
				continue
			}
			if times[of]++; times[of] == len(of.group.pushes)+1 {
				report(Violation{
					Invariant: "I5", At: m.at, key: s.key, bodies: []string{m.Body}, mids: of.group.mids, socket: s.id,
					Text: fmt.Sprintf("%s: pushed %d times and comes %d times to client %d: %s", s.key, len(of.group.pushes), times[of], s.client, m.Body),
				})
			}
		}
	}
}
