//go:build chaos

package wallclock

import (
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// reread is how soon a step is noticed.
const reread = 10 * time.Millisecond

// stepped is the clock of this process.
var stepped struct {
	mu   sync.Mutex
	read time.Time     // when the file was read
	off  time.Duration // what it said
}

// Now returns the time of day, off by what the file says now.
func Now() time.Time {
	now := time.Now()
	stepped.mu.Lock()
	defer stepped.mu.Unlock()
	if now.Sub(stepped.read) >= reread {
		stepped.read = now
		// No file, or one that is being written: the step is still to come.
		if b, err := os.ReadFile(os.Getenv("GOPUSH_CLOCK_STEP")); err == nil {
			if off, err := time.ParseDuration(strings.TrimSpace(string(b))); err == nil {
				stepped.off = off
			}
		}
	}
	return step(now, stepped.off)
}

// step moves the time of day of now, and not its monotonic reading, as a clock
// that is set does; Add would move both. It reaches into time.Time, whose first
// word holds the seconds above 30 bits of nanoseconds where there is a monotonic
// reading. Should that change one day, the test of this package says so.
func step(now time.Time, off time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&now)) += uint64(off/time.Second) << 30
	return now
}
