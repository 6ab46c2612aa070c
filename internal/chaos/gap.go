package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkGaps: a client that resumes sees no gap, or is told of it; one that fetches
// by itself when it connects sees none, provided that its fetch is answered
// while live messages are held for it (I4). No gap is told where there is none.
//
// A client counts: it takes a message above its counter and drops every other.
// So a message is lost to it when its counter passes the message's mid.
func checkGaps(x *index, report func(Violation)) {
	told := make(map[int][]gap) // by client
	for _, g := range x.gaps {
		told[g.client] = append(told[g.client], g)
	}
	w := x.welcomes()
	for id, seen := range x.clients() {
		k := x.key(seen.key)
		passes, taken := seen.count()
		for _, g := range k.groups {
			p, ok := g.promised()
			if !ok {
				continue
			}
			for _, m := range g.mids {
				i, _ := slices.BinarySearchFunc(passes, m, func(p pass, m int64) int { return cmp.Compare(p.mid, m) })
				if i == len(passes) || taken[m] != 0 {
					continue
				}
				by := passes[i]
				covers := func(g gap) bool { return g.at <= by.at && g.covers(p, m) }
				switch resumed := w.resumed(by.socket); {
				case by.at >= x.owedUntil(p, by.at), slices.ContainsFunc(told[id], covers):
				case !resumed && !w.inTime(by.socket, x.limits.Hold):
				case (!resumed || i == 0) && k.outnumbered(p, by.at, x.limits.Store):
					// Pushed out. Who gives mid 0 is not told of it.
				default:
					report(Violation{
						Invariant: "I4", At: by.at, key: k.key, bodies: []string{g.body}, mids: []int64{m}, client: id, socket: by.socket,
						Text: fmt.Sprintf("%s: client %d never saw mid %d, and went past it with mid %d on socket %d: %s", k.key, id, m, by.mid, by.socket, g.body),
					})
				}
			}
		}
		for _, g := range told[id] {
			if !x.gapped(g, taken) {
				report(Violation{
					Invariant: "I4", At: g.at, key: k.key, mids: []int64{g.from, g.oldest}, client: id, socket: g.socket,
					Text: fmt.Sprintf("%s: client %d is told of a gap from %d to %d, and there is none", k.key, id, g.from, g.oldest),
				})
			}
		}
	}
}

// gapped reports whether a gap that a client was told of may be one: messages
// may have been pushed out, or there is one in it that the client had not taken.
func (x *index) gapped(g gap, taken map[int64]time.Duration) bool {
	k := x.key(g.key)
	if len(k.stored) > x.limits.Store && k.stored[x.limits.Store].begin < g.at {
		return true
	}
	for _, of := range k.groups {
		for _, m := range of.mids {
			if at := taken[m]; of.stored() && len(of.pushes) > 0 && of.pushes[0].begin < g.at && (at == 0 || at > g.at) && g.covers(of.pushes[0], m) {
				return true
			}
		}
	}
	return false
}

// welcomes is how each socket was brought up to date.
type welcomes struct {
	sockets map[int]*socket
	fetched map[int]time.Duration // by socket, when its first fetch was answered
}

func (x *index) welcomes() welcomes {
	w := welcomes{make(map[int]*socket), make(map[int]time.Duration)}
	for _, s := range x.sockets {
		w.sockets[s.id] = s
	}
	for _, f := range slices.Backward(x.fetches) {
		w.fetched[f.socket] = f.end
	}
	return w
}

// resumed reports whether a socket's client gave a mid.
func (w welcomes) resumed(id int) bool { return w.sockets[id] != nil && w.sockets[id].resume }

// inTime reports whether the fetch that belongs to a socket was answered within
// the hold, which begins when the comet accepts, and with it the promise holds.
// Past by a fetch without a socket, it
// does as well.
func (w welcomes) inTime(id int, hold time.Duration) bool {
	s := w.sockets[id]
	end, ok := w.fetched[id]
	return s == nil || ok && end-s.asked < hold
}

// pass is the moment at which a client's counter rose to mid.
type pass struct {
	mid    int64
	at     time.Duration
	socket int
}

// clientView is everything one client saw, in the order in which it did.
type clientView struct {
	key string
	all []socketSight
}

// count returns the passes of the client's counter, and when each mid was taken.
func (v *clientView) count() (passes []pass, taken map[int64]time.Duration) {
	taken = make(map[int64]time.Duration)
	counter := int64(0)
	for _, s := range v.all {
		if s.Mid > counter {
			passes = append(passes, pass{s.Mid, s.at, s.socket})
			taken[s.Mid] = max(s.at, 1) // never 0, which is not taken
			counter = s.Mid
		}
	}
	return passes, taken
}

type socketSight struct {
	sight
	socket int
}

// clients returns what each client saw on its sockets and in its fetches.
func (x *index) clients() map[int]*clientView {
	views := make(map[int]*clientView)
	add := func(client int, key string, s socketSight) {
		v := views[client]
		if v == nil {
			v = &clientView{key: key}
			views[client] = v
		}
		v.all = append(v.all, s)
	}
	for _, s := range x.sockets {
		for _, m := range s.got {
			add(s.client, s.key, socketSight{m, s.id})
		}
	}
	for _, f := range x.fetches {
		for _, m := range f.msgs {
			if f.client > 0 {
				add(f.client, f.key, socketSight{sight{m, f.end}, f.socket})
			}
		}
	}
	for _, v := range views {
		slices.SortStableFunc(v.all, func(a, b socketSight) int { return cmp.Compare(a.at, b.at) })
	}
	return views
}
