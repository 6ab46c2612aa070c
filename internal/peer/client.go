package peer

import (
	"context"
	"fmt"
	"time"
)

// Caller carries calls to one daemon (rpcnet.Client). Its errors tell whether a
// call that failed may have been carried out: rpcnet.ErrNotSent, rpcnet.ErrLost.
type Caller interface {
	Call(ctx context.Context, method string, args, reply any) error
	Addr() string
}

// call is Caller.Call with the callee's errors restored.
func call(ctx context.Context, c Caller, method string, args, reply any) error {
	return restore(method, c.Call(ctx, method, args, reply))
}

// budget returns what a callee may take, in milliseconds, at least 1: what is
// left of ctx less a tenth of it, for an answer that leaves at the last moment
// would come when nobody waits for it any more. A callee that answers for many
// keys, some of which hang, would then have failed them all. 0 when ctx has no end.
func budget(ctx context.Context) int64 {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(end)
	return max(1, (left - left/10).Milliseconds())
}

// Within returns a context that ends when the caller's budget does, but not
// after most. Servers open it for each call.
func Within(ctx context.Context, budget int64, most time.Duration) (context.Context, context.CancelFunc) {
	d := most
	if budget > 0 {
		d = min(most, time.Duration(min(budget, most.Milliseconds()))*time.Millisecond)
	}
	return context.WithTimeout(ctx, d)
}

// Comet calls one comet.
type Comet struct {
	c      Caller
	sender sender
}

// NewComet returns a client for the comet at the other end of c.
func NewComet(c Caller) *Comet { return &Comet{c, newSender()} }

// Addr returns the host:port of the comet's RPC.
func (c *Comet) Addr() string { return c.c.Addr() }

// Push hands pushes to the comet and returns a result for each key of each
// push, in their order. An error means that none of them was surely done.
func (c *Comet) Push(ctx context.Context, pushes []Push) ([]PushResult, error) {
	var reply PushReply
	err := call(ctx, c.c, "CometRPC.Push", &PushArgs{Pushes: pushes, Budget: budget(ctx), Sent: c.sender.stamp()}, &reply)
	if isOld(err) {
		return pushOld(ctx, c.c, pushes)
	}
	if err != nil {
		return nil, err
	}
	want := 0
	for _, p := range pushes {
		want += len(p.Keys)
	}
	if len(reply.Results) != want {
		return nil, fmt.Errorf("%w: CometRPC.Push answered for %d of %d keys", ErrFailed, len(reply.Results), want)
	}
	return reply.Results, nil
}

// New lets a key connect with a token. It returns when the token is stored.
func (c *Comet) New(ctx context.Context, key, token string, expire int64) error {
	var ret int
	args := NewArgs{Key: key, Token: token, Expire: expire, Budget: budget(ctx)}
	if err := call(ctx, c.c, "CometRPC.New", &args, &ret); err != nil {
		return err
	}
	return refused("CometRPC.New", ret)
}

// Close ends the sessions of a key.
func (c *Comet) Close(ctx context.Context, key string) error {
	var ret int
	if err := call(ctx, c.c, "CometRPC.Close", key, &ret); err != nil {
		return err
	}
	return refused("CometRPC.Close", ret)
}

// Sync tells the comet of messages that were stored without it, and returns OK
// or NotMine for each key, in their order.
func (c *Comet) Sync(ctx context.Context, keys []PendingKey) ([]Code, error) {
	var reply SyncReply
	err := call(ctx, c.c, "CometRPC.Sync", &SyncArgs{Keys: keys}, &reply)
	if err == nil && len(reply.Codes) != len(keys) {
		err = fmt.Errorf("%w: CometRPC.Sync answered for %d of %d keys", ErrFailed, len(reply.Codes), len(keys))
	}
	return reply.Codes, err
}

// Forward hands on what was pushed to keys that the comet held before. It
// returns a result for each item, in their order. args.Budget is set from ctx.
func (c *Comet) Forward(ctx context.Context, args ForwardArgs) ([]ForwardResult, error) {
	args.Budget = budget(ctx)
	var reply ForwardReply
	err := call(ctx, c.c, "CometRPC.Forward", &args, &reply)
	if err == nil && len(reply.Results) != len(args.Items) {
		err = fmt.Errorf("%w: CometRPC.Forward answered for %d of %d items", ErrFailed, len(reply.Results), len(args.Items))
	}
	return reply.Results, err
}

// Done tells the comet that another one holds no sessions any more of keys that
// are not its own.
func (c *Comet) Done(ctx context.Context, args DoneArgs) error {
	var ret int
	return call(ctx, c.c, "CometRPC.Done", &args, &ret)
}

// Migrate tells the comet of the ring. It returns nil when the comet agrees: it
// has this ring, or a newer one. One that only begins to look is ErrFailed, and
// is to be told again.
func (c *Comet) Migrate(ctx context.Context, args MigrateArgs) error {
	var ret int
	if err := call(ctx, c.c, "CometRPC.Migrate", &args, &ret); err != nil {
		return err
	}
	return refused("CometRPC.Migrate", ret)
}

// Ping asks whether the comet answers.
func (c *Comet) Ping(ctx context.Context) error {
	var ret int
	return call(ctx, c.c, "CometRPC.Ping", 0, &ret)
}

// Message calls one message daemon.
type Message struct {
	c      Caller
	sender sender
}

// NewMessage returns a client for the message daemon at the other end of c.
func NewMessage(c Caller) *Message { return &Message{c, newSender()} }

// Save stores the items of args and answers for each, in their order. An error
// means that none of them was surely stored. args.Budget is set from ctx.
func (m *Message) Save(ctx context.Context, args SaveArgs) (SaveReply, error) {
	args.Budget, args.Sent = budget(ctx), m.sender.stamp()
	var reply SaveReply
	err := call(ctx, m.c, "MessageRPC.Save", &args, &reply)
	if isOld(err) {
		return saveOld(ctx, m.c, args)
	}
	if err == nil && len(reply.Results) != len(args.Items) {
		err = fmt.Errorf("%w: MessageRPC.Save answered for %d of %d items", ErrFailed, len(reply.Results), len(args.Items))
	}
	return reply, err
}

// Read returns what the store holds of each key, in their order. args.Budget is
// set from ctx.
func (m *Message) Read(ctx context.Context, args ReadArgs) (ReadReply, error) {
	args.Budget = budget(ctx)
	var reply ReadReply
	err := call(ctx, m.c, "MessageRPC.Read", &args, &reply)
	if isOld(err) {
		return readOld(ctx, m.c, args)
	}
	if err == nil && len(reply.Results) != len(args.Items) {
		err = fmt.Errorf("%w: MessageRPC.Read answered for %d of %d items", ErrFailed, len(reply.Results), len(args.Items))
	}
	return reply, err
}

// Pending returns keys that had a message saved without their comet, at most
// limit of each shard, oldest first.
func (m *Message) Pending(ctx context.Context, limit int) ([]PendingKey, error) {
	var reply PendingReply
	err := call(ctx, m.c, "MessageRPC.Pending", &PendingArgs{Limit: limit, Budget: budget(ctx)}, &reply)
	return reply.Keys, err
}

// Settle says that the comets of keys know by now.
func (m *Message) Settle(ctx context.Context, keys []PendingKey) error {
	var ret int
	if err := call(ctx, m.c, "MessageRPC.Settle", &SettleArgs{Keys: keys, Budget: budget(ctx)}, &ret); err != nil {
		return err
	}
	return refused("MessageRPC.Settle", ret)
}

// Shards returns the ring over the stores. ErrNoMethod: an old daemon, which
// keeps it to itself.
func (m *Message) Shards(ctx context.Context) (ShardsReply, error) {
	var reply ShardsReply
	err := call(ctx, m.c, "MessageRPC.Shards", 0, &reply)
	return reply, err
}

// TokenAdd stores a token of a key, or renews it. args.Budget is set from ctx.
func (m *Message) TokenAdd(ctx context.Context, args TokenArgs) error {
	args.Budget = budget(ctx)
	var ret int
	if err := call(ctx, m.c, "MessageRPC.TokenAdd", &args, &ret); err != nil {
		return err
	}
	return refused("MessageRPC.TokenAdd", ret)
}

// TokenCheck asks what the store knows of a key and a token, and renews a token
// that is renewed by use. args.Budget is set from ctx.
func (m *Message) TokenCheck(ctx context.Context, args TokenArgs) (TokenReply, error) {
	args.Budget = budget(ctx)
	var reply TokenReply
	err := call(ctx, m.c, "MessageRPC.TokenCheck", &args, &reply)
	return reply, err
}

// Delete removes the stored messages of a key.
func (m *Message) Delete(ctx context.Context, key string) error {
	var ret int
	if err := call(ctx, m.c, "MessageRPC.DelPrivate", key, &ret); err != nil {
		return err
	}
	return refused("MessageRPC.DelPrivate", ret)
}

// Ping asks whether the message daemon answers.
func (m *Message) Ping(ctx context.Context) error {
	var ret int
	return call(ctx, m.c, "MessageRPC.Ping", 0, &ret)
}
