package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/golang/glog"
)

// recallLeast is the least time for which those are waited for whom ZooKeeper
// has forgotten.
const recallLeast = 30 * time.Second

// forgotten is what a reader does about an ensemble that has lost its data, or
// was put back to an older state. Who was there and is not listed has not left:
// the others register again one after the other, each when it finds that its
// session will not come back. Whoever believed the list meanwhile would see a
// ring of those that were quickest, or of nobody, and every key would move twice.
//
// So each of them is handed on as a place whose comet is away, with the weight
// and the addresses that it had, until it has registered again, or for recall:
// as long as the slowest takes to find out (see ensemble.keep), and then some.
// Whoever is listed is believed at once, and who has come back may leave again.
type forgotten struct {
	recall time.Duration

	seen  moment
	last  Snapshot  // that was handed on
	until time.Time // then those are given up who are still missing
	again bool      // ZooKeeper was away meanwhile: the time begins anew
	// Who is missing:
	comets   map[string]Node  // by name
	messages map[string]Child // by address
}

// moment is by what a pass is told to belong to the same history as another.
// The zero moment is nobody's.
type moment struct{ root, pzxid, epoch int64 }

// before reports whether m can lead to n: nothing that only grows has fallen,
// and nobody has made the root anew.
func (m moment) before(n moment) bool {
	return m == moment{} || m.root == n.root && m.pzxid <= n.pzxid && m.epoch <= n.epoch
}

// recollect adds to s, which is what p lists, whom ZooKeeper has forgotten.
func (f *forgotten) recollect(p pass, s Snapshot, now time.Time) Snapshot {
	m := moment{p.root, p.pzxid, p.epoch()}
	switch {
	case f.recall > 0 && !f.seen.before(m):
		f.await(now)
		f.meet(s)
		glog.Warningf("registry: ZooKeeper has lost data, and who was there before is waited for: "+
			"was it wiped or restored? comets=%v messages=%v for=%s", slices.Sorted(maps.Keys(f.comets)), slices.Sorted(maps.Keys(f.messages)), f.recall)
	case !f.waits():
	case f.again:
		f.until = now.Add(f.recall)
		f.meet(s)
	case now.Before(f.until):
		f.meet(s)
	default:
		glog.Warningf("registry: not waited for any longer, after ZooKeeper lost its data comets=%v messages=%v",
			slices.Sorted(maps.Keys(f.comets)), slices.Sorted(maps.Keys(f.messages)))
		f.comets, f.messages = nil, nil
	}
	f.again = false
	f.seen, f.last = m, f.add(s)
	return f.last
}

// waits reports whether anybody is missing.
func (f *forgotten) waits() bool { return len(f.comets)+len(f.messages) > 0 }

// interrupt takes note that ZooKeeper cannot be read: nobody can come back.
func (f *forgotten) interrupt() { f.again = true }

// await takes all who were there for missing.
func (f *forgotten) await(now time.Time) {
	f.until = now.Add(f.recall)
	f.comets, f.messages = make(map[string]Node), make(map[string]Child)
	for _, n := range f.last.Comets {
		f.comets[n.Name] = n
	}
	for _, c := range f.last.Messages {
		f.messages[c.Info.Addr()] = c
	}
}

// meet takes those off who have registered. A node without a comet is only what
// is left of an older state, or about to get its comet.
func (f *forgotten) meet(s Snapshot) {
	for _, n := range s.Comets {
		if len(n.Children) > 0 {
			delete(f.comets, n.Name)
		}
	}
	for _, c := range s.Messages {
		delete(f.messages, c.Info.Addr())
	}
}

// add returns s with those who are missing. Keep has nobody take them out of
// the ring meanwhile.
func (f *forgotten) add(s Snapshot) Snapshot {
	if !f.waits() {
		return s
	}
	for name, old := range f.comets {
		kept := Node{Name: name, Weight: old.Weight, Last: old.Info(), Keep: f.until} // no Version: it was not seen
		i, listed := slices.BinarySearchFunc(s.Comets, name, func(n Node, name string) int { return cmp.Compare(n.Name, name) })
		if listed {
			s.Comets[i] = kept
		} else {
			s.Comets = slices.Insert(s.Comets, i, kept)
		}
	}
	for _, c := range f.messages {
		s.Messages = append(s.Messages, c)
	}
	slices.SortStableFunc(s.Messages, func(a, b Child) int {
		return cmp.Or(compareNames(a.Name, b.Name), cmp.Compare(a.Info.Addr(), b.Info.Addr()))
	})
	return s
}
