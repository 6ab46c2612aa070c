package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is asked of a cluster while one of its stores hangs and nothing else is
// broken. The answer to a push whose key lies there comes within 2 s; a machine
// at its limits gets more. Of the others' keys enough lie elsewhere, though not
// just their share: keys are few.
const (
	hangSettles = time.Second     // after its beginning
	hangAnswer  = 6 * time.Second // for any push
	hangServed  = 0.1             // of the pushes to single keys
	hangPushes  = 20              // at least, for a share to mean anything
)

// checkHangs: a store that hangs fails the pushes of its own keys, in time, and
// harms nobody else: not the pushes of other keys, and no heartbeat.
func checkHangs(x *index, report func(Violation)) {
	for _, h := range x.hangs {
		type count struct {
			pushes, acked int
			failed        *push
		}
		webs := make(map[string]*count)
		for _, p := range x.pushes {
			if p.begin < h.begin+hangSettles || p.begin > h.end-hangAnswer/2 {
				continue
			}
			first := p.tries[0]
			if took := min(first.end, h.end+hangAnswer) - p.begin; took > hangAnswer {
				report(Violation{
					Invariant: "hang", At: first.end, key: p.keys[0], bodies: []string{p.body},
					Text: fmt.Sprintf("%s: push %d is answered after %v, while %s hangs: %s", p.keys[0], first.id, took, h.store, p.body),
				})
			}
			if p.many || p.expire == 0 {
				continue
			}
			c := webs[first.web]
			if c == nil {
				c = new(count)
				webs[first.web] = c
			}
			c.pushes++
			if first.promises(p.keys[0]) {
				c.acked++
			} else {
				c.failed = p
			}
		}
		for web, c := range webs {
			if c.pushes >= hangPushes && float64(c.acked) < hangServed*float64(c.pushes) {
				report(Violation{
					Invariant: "hang", At: h.end, key: c.failed.keys[0], bodies: []string{c.failed.body},
					Text: fmt.Sprintf("%s: %d of %d pushes are acknowledged, while %s hangs and no other store does", web, c.acked, c.pushes, h.store),
				})
			}
		}
		for _, s := range x.sockets {
			if s.ended > h.begin && s.ended < h.end+hangSettles && strings.Contains(s.why, "timeout") {
				report(Violation{
					Invariant: "hang", At: s.ended, key: s.key, socket: s.id, client: s.client,
					Text: fmt.Sprintf("%s: no heartbeat is answered on socket %d, while %s hangs", s.key, s.id, h.store),
				})
			}
		}
	}
}

// hang is the time in which a store hung.
type hang struct {
	store      string
	begin, end time.Duration
}

// hang notes that a store hangs from now on, or, with no name, that it goes on.
func (x *index) hang(e Event) {
	i := slices.IndexFunc(x.hangs, func(h *hang) bool { return h.end == forever })
	if i >= 0 {
		x.hangs[i].end = e.At
	}
	if e.Note != "" {
		x.hangs = append(x.hangs, &hang{e.Note, e.At, forever})
	}
}
