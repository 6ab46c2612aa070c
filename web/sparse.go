package web

import (
	"sync"
	"time"
)

// sparseEvery keeps a fault that fails each request from filling the disk.
const sparseEvery = time.Second

// sparse logs at most one line in sparseEvery, and says with it how many it has
// suppressed since the one before.
type sparse struct {
	log func(depth int, format string, args ...any) // glog's, by severity

	mu         sync.Mutex
	next       time.Time // when a line may be logged again
	suppressed int
}

func (s *sparse) printf(format string, args ...any) {
	now := time.Now()
	s.mu.Lock()
	if now.Before(s.next) {
		s.suppressed++
		s.mu.Unlock()
		return
	}
	n := s.suppressed
	s.next, s.suppressed = now.Add(sparseEvery), 0
	s.mu.Unlock()
	if n > 0 {
		format, args = format+" suppressed=%d", append(args, n)
	}
	s.log(1, format, args...)
}
