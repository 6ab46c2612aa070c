package assemble

import (
	"context"
	"errors"
)

// layer runs until ctx ends, and returns after its last goroutine.
type layer func(ctx context.Context) error

// stack runs layers until ctx ends or one of them returns. Then it ends them one
// at a time, the last first, so that each still has what it stands on.
func stack(ctx context.Context, layers ...layer) error {
	type running struct {
		end  context.CancelFunc
		done chan error
	}
	var all []running
	returned := make(chan struct{}, len(layers))
	for _, run := range layers {
		ctx, end := context.WithCancel(context.WithoutCancel(ctx))
		r := running{end, make(chan error, 1)}
		all = append(all, r)
		go func() {
			r.done <- run(ctx)
			returned <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-returned:
	}
	var errs []error
	for len(all) > 0 {
		top := all[len(all)-1]
		all = all[:len(all)-1]
		top.end()
		errs = append(errs, <-top.done)
	}
	return errors.Join(errs...)
}
