package chaos

import (
	"context"
	"sync"
)

// Valve stops clients from reading what has arrived, as a phone in a pocket does.
// A nil one is open.
type Valve struct {
	mu     sync.Mutex
	opened chan struct{} // nil: it is open
}

// Close keeps clients from reading until Open.
func (v *Valve) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened == nil {
		v.opened = make(chan struct{})
	}
}

// Open lets them read on.
func (v *Valve) Open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened != nil {
		close(v.opened)
		v.opened = nil
	}
}

// wait returns when the valve is open, or ctx ends.
func (v *Valve) wait(ctx context.Context) {
	if v == nil {
		return
	}
	v.mu.Lock()
	opened := v.opened
	v.mu.Unlock()
	if opened == nil {
		return
	}
	select {
	case <-opened:
	case <-ctx.Done():
	}
}
