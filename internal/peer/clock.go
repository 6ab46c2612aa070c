package peer

import (
	"context"
	"time"
)

// Ahead returns by how much the caller's clock is ahead of the callee's.
func (a *ClockArgs) Ahead() time.Duration {
	const most = int64(100 * 365 * 24 * time.Hour / time.Millisecond) // more might overflow
	return -time.Duration(max(-most, min(most, a.Off))) * time.Millisecond
}

// Clock asks the comet what time it is there. ErrNoMethod: it is an old one.
func (c *Comet) Clock(ctx context.Context, args ClockArgs) (ClockReply, error) {
	var reply ClockReply
	err := call(ctx, c.c, "CometRPC.Clock", &args, &reply)
	return reply, err
}

// Clock asks the message daemon what time it is there. ErrNoMethod: it is an old
// one.
func (m *Message) Clock(ctx context.Context, args ClockArgs) (ClockReply, error) {
	var reply ClockReply
	err := call(ctx, m.c, "MessageRPC.Clock", &args, &reply)
	return reply, err
}
