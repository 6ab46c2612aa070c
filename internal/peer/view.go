package peer

import "context"

// View asks how the comet sees the ring.
func (c *Comet) View(ctx context.Context) (ViewReply, error) {
	var reply ViewReply
	err := call(ctx, c.c, "CometRPC.View", 0, &reply)
	return reply, err
}

// View asks how the message daemon sees the ring.
func (m *Message) View(ctx context.Context) (ViewReply, error) {
	var reply ViewReply
	err := call(ctx, m.c, "MessageRPC.View", 0, &reply)
	return reply, err
}
