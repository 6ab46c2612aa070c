package registry

import (
	"sync"

	"github.com/go-zookeeper/zk"
)

// watches are those that the server holds for one client. The library would
// hand us a new one for each read and keep all of them until one event fires,
// so a znode that is read every half minute and never changes must be read
// without. The zero value is ready.
type watches struct {
	mu  sync.Mutex
	all map[watchKey]*watch
}

type watchKey struct {
	path     string
	children bool // the list of children; else the data
}

type watch struct {
	armed bool  // the server confirmed it
	fired bool  // its event came
	zxid  int64 // of what was read with it
}

// of returns the watch for key, and whether the server holds it already.
func (s *watches) of(key watchKey) (w *watch, armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w = s.all[key]
	if w == nil {
		w = &watch{}
		if s.all == nil {
			s.all = make(map[watchKey]*watch)
		}
		s.all[key] = w
	}
	return w, w.armed
}

// arm notes that the server has confirmed w and told zxid with it. The event
// may have come before this.
func (s *watches) arm(w *watch, zxid int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.fired {
		w.armed, w.zxid = true, zxid
	}
}

// lost reports whether w is lost: a read saw something newer than w was set
// for, and yet the event, which the server sends first, has not come.
func (s *watches) lost(w *watch, zxid int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !w.fired && w.zxid != zxid
}

// fire takes out what e has used up.
func (s *watches) fire(e zk.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, children := range []bool{false, true} {
		key := watchKey{e.Path, children}
		w := s.all[key]
		if w == nil ||
			e.Type == zk.EventNodeChildrenChanged && !children ||
			e.Type == zk.EventNodeDataChanged && children {
			continue
		}
		w.fired = true
		delete(s.all, key)
	}
}

// forget lets the next read set a new watch, if w is still the one in force.
func (s *watches) forget(key watchKey, w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key] == w {
		delete(s.all, key)
	}
}
