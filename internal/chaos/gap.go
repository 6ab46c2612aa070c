package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkGaps: a client that fetches by itself when it connects sees no gap,
// provided that its fetch is answered while live messages are held for it (I4).
//
// A client counts: it takes a message above its counter and drops every other.
// So a message is lost to it when its counter passes the message's mid.
func checkGaps(x *index, report func(Violation)) {
	for id, seen := range x.clients() {
		k := x.key(seen.key)
		taken := make(map[int64]bool)
		var passes []pass
		counter := int64(0)
		for _, s := range seen.all {
			if s.Mid > counter {
				passes = append(passes, pass{s.Mid, s.at, s.socket})
				taken[s.Mid] = true
				counter = s.Mid
			}
		}
		for _, g := range k.groups {
			p, m, ok := g.single()
			if !ok || taken[m] || m > counter || p.expire == 0 || !p.acked(k.key) {
				continue
			}
			i, _ := slices.BinarySearchFunc(passes, m, func(p pass, m int64) int { return cmp.Compare(p.mid, m) })
			if by := passes[i]; by.at < p.owedUntil() && k.newer(p, by.at) < x.limits.Store && x.inTime(by.socket) {
				report(Violation{
					Invariant: "I4", At: by.at, key: k.key, bodies: []string{g.body}, mids: []int64{m}, client: id, socket: by.socket,
					Text: fmt.Sprintf("%s: client %d never saw mid %d, and went past it with mid %d on socket %d: %s", k.key, id, m, by.mid, by.socket, g.body),
				})
			}
		}
	}
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

// inTime reports whether the fetch that belongs to a socket was answered within
// the hold, and with it the promise holds.
func (x *index) inTime(id int) bool {
	for _, s := range x.sockets {
		if s.id == id {
			return slices.ContainsFunc(x.fetches, func(f *fetch) bool {
				return f.socket == id && f.end-s.opened < x.limits.Hold
			})
		}
	}
	return true // past by a fetch without a socket
}
