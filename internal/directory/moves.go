package directory

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// moves remembers who held keys before the ring changed, for the comet that has
// them now: until a former owner says that it is done, clients that wait for
// their turn to be sent away are still connected there.
type moves struct {
	open atomic.Pointer[[]former] // replaced with mu held; nil or empty: nothing moves

	mu   sync.Mutex
	said map[string]word // by address: what each comet said last; guarded by mu
}

// word is what a comet said: that it is done with the ring of that age.
type word struct {
	age age
	at  time.Time
}

// former is a view that was replaced, and those of its comets that are not known
// to be done with it.
type former struct {
	view  *View
	age   age // of the view that replaced it
	since time.Time
	open  []*link
}

// formerTime is how long a former owner is remembered that never says it is
// done: far longer than sending everybody away takes.
const formerTime = 10 * time.Minute

// replaced takes note that next replaces old, at now. mine is the comet's own
// place: it needs no telling. Who has said already that it is done with next was
// only the first to read it.
func (m *moves) replaced(old, next *View, mine func(registry.Node) bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.list(func(f former) bool { return now.Sub(f.since) < formerTime })
	open, fresh := old.others(mine), next.age()
	switch {
	case fresh.newer(old.age()):
		open = slices.DeleteFunc(open, func(l *link) bool { return !fresh.newer(m.said[l.addr].age) })
	case old.age().newer(fresh): // a ZooKeeper that was put back counts again from there
		m.said = nil
		for i := range kept {
			kept[i].age = fresh
		}
	default: // who said so may have meant old
	}
	if len(open) > 0 && old.movesTo(next) {
		kept = append(kept, former{old, fresh, now, open})
	}
	m.open.Store(&kept)
}

// done takes note of what a comet says, at now.
func (m *moves) done(args peer.DoneArgs, now time.Time) {
	m.mu.Lock()
	maps.DeleteFunc(m.said, func(_ string, w word) bool { return now.Sub(w.at) >= formerTime })
	if m.said == nil {
		m.said = make(map[string]word)
	}
	by := age{args.Root, args.Epoch}
	m.said[args.Addr] = word{by, now}
	m.mu.Unlock()
	m.close(by, func(l *link) bool { return l.addr == args.Addr })
}

// list returns a copy of what is open and for which keep is true. m.mu is held.
func (m *moves) list(keep func(former) bool) []former {
	var kept []former
	if all := m.open.Load(); all != nil {
		for _, f := range *all {
			if keep(f) {
				kept = append(kept, f)
			}
		}
	}
	return kept
}

// of returns the former owners of key that are not done, each once.
func (m *moves) of(key string) []*peer.Comet {
	all := m.open.Load()
	if all == nil {
		return nil
	}
	var owners []*peer.Comet
	for _, f := range *all {
		if time.Since(f.since) >= formerTime {
			continue
		}
		if p, ok := f.view.at(key); ok && slices.Contains(f.open, p.link) && !slices.Contains(owners, p.link.comet) {
			owners = append(owners, p.link.comet)
		}
	}
	return owners
}

// close takes the links that is names off all views that were replaced by one of
// that age at the latest.
func (m *moves) close(by age, is func(*link) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.list(func(former) bool { return true })
	for i, f := range kept {
		if !f.age.newer(by) {
			kept[i].open = slices.DeleteFunc(slices.Clone(f.open), is)
		}
	}
	kept = slices.DeleteFunc(kept, func(f former) bool { return len(f.open) == 0 })
	m.open.Store(&kept)
}

// others returns the links to the view's comets but one's own.
func (v *View) others(mine func(registry.Node) bool) []*link {
	var all []*link
	for _, p := range v.places {
		if !mine(p.node) && len(p.link.clients) > 0 && !slices.Contains(all, p.link) {
			all = append(all, p.link)
		}
	}
	return all
}

// movesTo reports whether some key is led elsewhere by next.
func (v *View) movesTo(next *View) bool {
	if v.Ring != next.Ring { // a ring is taken over where the weights are the same
		return true
	}
	for name, p := range v.places {
		if next.places[name].link != p.link {
			return true
		}
	}
	return false
}

// former returns the view that v replaces. A comet that reads the cluster for
// the first time and finds itself there already supposes the ring without it:
// whoever held its keys meanwhile is asked, and says that it is done.
func (d *Directory) former(v *View) *View {
	old := d.View()
	if old.Ring != nil {
		return old
	}
	nodes := slices.DeleteFunc(slices.Clone(v.Nodes), func(n registry.Node) bool { return n.Name == d.self.Node() })
	return old.next(old.age(), nodes, d.links)
}

// Former returns the comets that key lived on before the ring changed, and that
// may still have sessions of it. Most of the time there are none.
func (d *Directory) Former(key string) []*peer.Comet { return d.moves.of(key) }

// Done takes note that a comet has sent away the sessions of all keys that are
// not its own in the ring of that epoch.
func (d *Directory) Done(args peer.DoneArgs) {
	d.moves.done(args, time.Now())
}

// Gone takes note that a comet cannot be reached, so nobody is connected there.
func (d *Directory) Gone(c *peer.Comet) {
	d.moves.close(d.View().age(), func(l *link) bool { return l.comet == c })
}

// Others returns the comets of the ring but this one.
func (d *Directory) Others() []*peer.Comet {
	var all []*peer.Comet
	for _, l := range d.View().others(d.mine) {
		all = append(all, l.comet)
	}
	return all
}

// Epoch returns the epoch of the ring.
func (d *Directory) Epoch() int64 { return d.View().Epoch }

// Root returns the root that the epoch belongs to.
func (d *Directory) Root() int64 { return d.View().Root }

// mine reports whether others are led to this comet when they look for n.
func (d *Directory) mine(n registry.Node) bool {
	if d.self == nil || n.Name != d.self.Node() {
		return false
	}
	active, registered := n.Active()
	if !registered {
		active = registry.Child{Info: n.Last}
	}
	return d.self.Mine(active)
}
