package peer

import "context"

// Weight gives the comet another weight, until it is restarted. Its error wraps
// ErrInvalid if no comet may have that weight.
func (c *Comet) Weight(ctx context.Context, weight int) error {
	var ret int
	if err := call(ctx, c.c, "CometRPC.Weight", &WeightArgs{Weight: weight}, &ret); err != nil {
		return err
	}
	return refused("CometRPC.Weight", ret)
}

// Drain makes the comet leave the ring for good, send its clients elsewhere and
// end, as SIGTERM does. It returns when the comet has begun with it.
func (c *Comet) Drain(ctx context.Context) error {
	var ret int
	if err := call(ctx, c.c, "CometRPC.Drain", 0, &ret); err != nil {
		return err
	}
	return refused("CometRPC.Drain", ret)
}
