package registry

import "sync"

// signals tells whoever subscribed that something may have changed. The zero
// value is ready.
type signals struct {
	mu          sync.Mutex
	subscribers map[chan struct{}]struct{}
}

func (s *signals) subscribe() (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribers == nil {
		s.subscribers = make(map[chan struct{}]struct{})
	}
	s.subscribers[changed] = struct{}{}
	return changed, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, changed)
	}
}

// refresh signals every subscriber, and waits for none.
func (s *signals) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subscribers {
		select {
		case c <- struct{}{}:
		default: // one is waiting already
		}
	}
}
