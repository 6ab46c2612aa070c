package comet

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Service is CometRPC: what web and the other comets ask of a comet
// (docs/protocol.md, "RPC"). Push is ours; the others are the contract.
type Service struct{ s *Server }

// Push pushes to the keys of one or more messages and answers for each.
func (v *Service) Push(args *peer.PushArgs, reply *peer.PushReply) (err error) {
	defer rpcnet.Recover("CometRPC.Push", &err)
	left, inTime := v.s.waits.Left(args.Sent, args.Budget)
	if !inTime {
		reply.Results = v.s.pushLate(args.Pushes)
		return nil
	}
	ctx, cancel := v.within(left)
	defer cancel()
	reply.Results = v.s.push(ctx, args.Pushes)
	return nil
}

// PushPrivate pushes one message to one key.
func (v *Service) PushPrivate(args *peer.PushPrivateArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.PushPrivate", &err)
	results, err := v.pushOld([]string{args.Key}, args.Msg, args.Expire)
	if err != nil {
		return err
	}
	return results[0].Code.Err()
}

// PushPrivates pushes one message to many keys and names those that failed.
func (v *Service) PushPrivates(args *peer.PushPrivatesArgs, reply *peer.PushPrivatesReply) (err error) {
	defer rpcnet.Recover("CometRPC.PushPrivates", &err)
	keys := once(args.Keys)
	results, err := v.pushOld(keys, args.Msg, args.Expire)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Code != peer.OK {
			reply.FKeys = append(reply.FKeys, keys[i])
		}
	}
	return nil
}

// once returns keys in their order, without those that were named before: a key
// named twice is pushed to once.
func once(keys []string) []string {
	seen := make(map[string]bool, len(keys))
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		before := seen[key]
		seen[key] = true
		return before
	})
}

// pushOld does for an old web what ours does before it calls Push.
func (v *Service) pushOld(keys []string, raw []byte, expire uint) ([]peer.PushResult, error) {
	body, err := msg.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", peer.ErrInvalid, err)
	}
	p := peer.Push{Keys: keys, Msg: body}
	if expire > 0 {
		p.ExpireAt = v.s.deps.Now().Unix() + int64(min(expire, maxExpire))
		p.Nonce = rand.Text()
	}
	ctx, cancel := v.within(0)
	defer cancel()
	return v.s.push(ctx, []peer.Push{p}), nil
}

// maxExpire bounds how long a message is kept, in seconds: a hundred years.
const maxExpire = 100 * 365 * 24 * 3600

// New lets a key connect with a token. It answers when the token is stored.
func (v *Service) New(args *peer.NewArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.New", &err)
	if err := peer.CheckKey(args.Key); err != nil {
		return err
	}
	if args.Token == "" {
		return fmt.Errorf("%w: the token is empty", peer.ErrInvalid)
	}
	ctx, cancel := v.within(args.Budget)
	defer cancel()
	return v.s.deps.Messages.TokenAdd(ctx, peer.TokenArgs{Key: args.Key, Token: args.Token, Expire: max(args.Expire, 0)})
}

// Sync takes note of messages that were stored without this comet, so that who
// is connected need not wait for the key's next push.
func (v *Service) Sync(args *peer.SyncArgs, reply *peer.SyncReply) (err error) {
	defer rpcnet.Recover("CometRPC.Sync", &err)
	reply.Codes = make([]peer.Code, len(args.Keys))
	for i, k := range args.Keys {
		if v.s.owns(k.Key) != nil {
			reply.Codes[i] = peer.NotMine
		} else if c := v.s.env.table.find(k.Key); c != nil {
			c.post(noted{k.Mid})
		}
	}
	return nil
}

// Forward takes what the owner of keys hands on to a comet that held them
// before.
func (v *Service) Forward(args *peer.ForwardArgs, reply *peer.ForwardReply) (err error) {
	defer rpcnet.Recover("CometRPC.Forward", &err)
	ctx, cancel := v.within(args.Budget)
	defer cancel()
	reply.Results = v.s.forward(ctx, args)
	return nil
}

// Done hears that a comet is done with sending away whom the ring gave to
// others. Our mids go on above those it gave, and what it saved is looked for.
func (v *Service) Done(args *peer.DoneArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Done", &err)
	if !mid.Foreign(args.High, mid.Of(v.s.deps.Now())) {
		v.s.env.table.raise(args.High)
	}
	from := v.s.heldBy(args.Addr)
	v.s.deps.Moves.Done(*args)
	for _, c := range from {
		c.post(look{})
	}
	return nil
}

// Close ends the sessions of a key.
func (v *Service) Close(key string, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Close", &err)
	if err := peer.CheckKey(key); err != nil {
		return err
	}
	if c := v.s.env.table.find(key); c != nil {
		c.post(ending(func(s *session) { s.dismiss(endClosed) }))
	}
	return nil
}

// Migrate tells the ring as a web sees it. What this comet reads from ZooKeeper
// itself wins. The answer is 1 as long as its own ring is older.
func (v *Service) Migrate(args *peer.MigrateArgs, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Migrate", &err)
	v.s.called.Store(true)
	if !v.s.deps.Ring.Told(*args) {
		*ret = 1
	}
	return nil
}

// Ping answers. Webs ping every comet all the time.
func (v *Service) Ping(_ int, ret *int) (err error) {
	defer rpcnet.Recover("CometRPC.Ping", &err)
	v.s.called.Store(true)
	return nil
}

// within opens the context of one call.
func (v *Service) within(budget int64) (context.Context, context.CancelFunc) {
	return peer.Within(context.Background(), budget, v.s.cfg.Load().RPC.Timeout.D())
}
