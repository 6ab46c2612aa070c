package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrFull means that the lane's queue is full: the item was not run.
	ErrFull = errors.New("batch: the queue is full")
	// ErrClosed means that the lane takes no more: the item was not run.
	ErrClosed = errors.New("batch: the lane is closed")
)

// Options bound a lane.
type Options[T any] struct {
	InFlight int // batches under way at once; at least 1
	Items    int // items of a batch; at least 1
	Queue    int // items that may wait; beyond it Submit answers ErrFull

	// Weight and MaxWeight bound a batch by the sum of its items' weights as
	// well. An item heavier than MaxWeight goes alone. Nil: items weigh nothing.
	Weight    func(T) int
	MaxWeight int
}

// Lane collects items into batches and runs them.
type Lane[T, R any] struct {
	opt Options[T]
	run func(context.Context, []T) ([]R, error)

	mu      sync.Mutex
	queue   []entry[T, R]
	running int
	closed  bool
	wg      sync.WaitGroup // the goroutines that run batches
}

type entry[T, R any] struct {
	ctx  context.Context
	item T
	done func(R, error)
}

// New returns an idle lane. run carries out one batch and returns a result for
// each item in their order, or an error that holds for all of them; its context
// ends with the latest deadline among the items.
func New[T, R any](opt Options[T], run func(context.Context, []T) ([]R, error)) *Lane[T, R] {
	return &Lane[T, R]{opt: opt, run: run}
}

// Submit queues item and returns at once. done is called exactly once, never
// under a lock: with the item's result, with run's error, or, where the item
// was not run at all, with ErrFull, ErrClosed or the error of ctx. An item
// whose ctx ends while it waits is not run.
func (l *Lane[T, R]) Submit(ctx context.Context, item T, done func(R, error)) {
	if err := l.enqueue(entry[T, R]{ctx, item, done}); err != nil {
		var none R
		done(none, err)
	}
}

func (l *Lane[T, R]) enqueue(e entry[T, R]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case len(l.queue) >= l.opt.Queue:
		return ErrFull
	}
	l.queue = append(l.queue, e)
	if l.running < l.opt.InFlight {
		l.running++
		l.wg.Go(l.work)
	}
	return nil
}

// Do is Submit for a caller that waits. It returns when the item is done or ctx
// has ended; in the second case the item may still be carried out.
func (l *Lane[T, R]) Do(ctx context.Context, item T) (R, error) {
	type answer struct {
		r   R
		err error
	}
	c := make(chan answer, 1)
	l.Submit(ctx, item, func(r R, err error) { c <- answer{r, err} })
	select {
	case a := <-c:
		return a.r, a.err
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}

// Close lets what was submitted come to its end, takes no more, and returns
// when the last batch is done.
func (l *Lane[T, R]) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
}

// work runs batches until the queue is empty.
func (l *Lane[T, R]) work() {
	for {
		batch := l.take()
		if len(batch) == 0 {
			return
		}
		l.runBatch(batch)
	}
}

// take removes the next batch from the queue, oldest first. An empty batch
// means that this worker has to end, and counts it out.
func (l *Lane[T, R]) take() []entry[T, R] {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, weight := 0, 0
	for n < len(l.queue) && n < l.opt.Items {
		if l.opt.Weight != nil {
			weight += l.opt.Weight(l.queue[n].item)
			if n > 0 && weight > l.opt.MaxWeight {
				break
			}
		}
		n++
	}
	if n == 0 {
		l.running--
		l.queue = nil // let a burst's array go
		return nil
	}
	batch := l.queue[:n:n]
	l.queue = l.queue[n:]
	return batch
}

func (l *Lane[T, R]) runBatch(batch []entry[T, R]) {
	var none R
	live := make([]entry[T, R], 0, len(batch))
	items := make([]T, 0, len(batch))
	for _, e := range batch {
		if err := e.ctx.Err(); err != nil {
			e.done(none, err)
			continue
		}
		live = append(live, e)
		items = append(items, e.item)
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := latest(live)
	results, err := l.run(ctx, items)
	cancel()
	if err == nil && len(results) != len(live) {
		err = fmt.Errorf("batch: %d results for %d items", len(results), len(live))
	}
	for i, e := range live {
		if err != nil {
			e.done(none, err)
		} else {
			e.done(results[i], nil)
		}
	}
}

// latest returns a context that ends with the latest deadline of the batch, so
// that an item in a hurry does not take the others down with it.
func latest[T, R any](batch []entry[T, R]) (context.Context, context.CancelFunc) {
	var end time.Time
	for _, e := range batch {
		d, ok := e.ctx.Deadline()
		if !ok {
			return context.WithCancel(context.Background())
		}
		if d.After(end) {
			end = d
		}
	}
	return context.WithDeadline(context.Background(), end)
}
