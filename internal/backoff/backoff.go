package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a row of growing waits. The zero value waits between 50 ms and
// 1 s. It belongs to one goroutine.
type Backoff struct {
	Min time.Duration // the first wait; 0: 50 ms
	Max time.Duration // no wait is longer; 0: 1 s

	ceiling time.Duration // of the next wait; 0: Min
}

// Next returns how long to wait before the next try: between half of the
// ceiling and the whole of it. The ceiling is Min at first and doubles with
// each call, up to Max.
func (b *Backoff) Next() time.Duration {
	lowest, highest := b.limits()
	ceiling := max(b.ceiling, lowest)
	b.ceiling = min(2*ceiling, highest)
	return ceiling - rand.N(ceiling/2+1)
}

// Reset makes the next wait the first again; call it after a success.
func (b *Backoff) Reset() { b.ceiling = 0 }

// Wait sleeps for Next. It returns ctx's error if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (b *Backoff) limits() (lowest, highest time.Duration) {
	lowest, highest = b.Min, b.Max
	if lowest <= 0 {
		lowest = 50 * time.Millisecond
	}
	if highest <= 0 {
		highest = time.Second
	}
	return min(lowest, highest), highest
}
