package peer

import (
	"context"
	"errors"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/wallclock"
)

// What our calls become where the daemon at the other end is an old one.

func isOld(err error) bool { return errors.Is(err, ErrNoMethod) }

// pushOld pushes through CometRPC.PushPrivate and PushPrivates. An old comet
// makes the mid itself and does not tell it.
func pushOld(ctx context.Context, c Caller, pushes []Push) ([]PushResult, error) {
	var results []PushResult
	for _, p := range pushes {
		expire := secondsLeft(p.ExpireAt)
		failed := make(map[string]bool)
		var err error
		if len(p.Keys) == 1 {
			var ret int
			err = call(ctx, c, "CometRPC.PushPrivate", &PushPrivateArgs{Key: p.Keys[0], Msg: p.Msg, Expire: expire}, &ret)
			failed[p.Keys[0]] = ret != 0
		} else {
			var reply PushPrivatesReply
			err = call(ctx, c, "CometRPC.PushPrivates", &PushPrivatesArgs{Keys: p.Keys, Msg: p.Msg, Expire: expire}, &reply)
			for _, k := range reply.FKeys {
				failed[k] = true
			}
		}
		if err != nil && len(results) == 0 {
			return nil, err // the first push: the caller may still go another way
		}
		for _, k := range p.Keys {
			r := PushResult{Code: OK}
			if err != nil || failed[k] {
				r.Code = Failed
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// saveOld saves through MessageRPC.SavePrivate, one item at a time, under a mid
// that is larger than everything it can see. Nonces are not kept there.
func saveOld(ctx context.Context, c Caller, args SaveArgs) (SaveReply, error) {
	reply := SaveReply{Results: make([]SaveResult, len(args.Items))}
	for i, it := range args.Items {
		reply.Results[i] = SaveResult{Code: Failed}
		if it.Body < 0 || it.Body >= len(args.Bodies) {
			reply.Results[i].Code = Invalid
			continue
		}
		old, err := readOldKey(ctx, c, it.Key, 0)
		if err != nil {
			if i == 0 {
				return SaveReply{}, err
			}
			continue
		}
		id := mid.Next(old.Last, it.Floor, mid.Of(wallclock.Now()))
		var ret int
		err = call(ctx, c, "MessageRPC.SavePrivate", &SavePrivateArgs{
			Key: it.Key, Msg: args.Bodies[it.Body], MsgId: id, Expire: secondsLeft(it.ExpireAt),
		}, &ret)
		if err == nil && ret == 0 {
			reply.Results[i] = SaveResult{Code: OK, Mid: id, Prev: old.Last}
		}
	}
	return reply, nil
}

// readOld reads through MessageRPC.GetPrivate, one key at a time. An old daemon
// does not tell what was trimmed.
func readOld(ctx context.Context, c Caller, args ReadArgs) (ReadReply, error) {
	reply := ReadReply{Results: make([]ReadResult, len(args.Items))}
	for i, it := range args.Items {
		r, err := readOldKey(ctx, c, it.Key, it.After)
		switch {
		case err != nil && i == 0:
			return ReadReply{}, err
		case err != nil:
			r = ReadResult{Code: Failed}
		case len(r.Msgs) > it.Limit:
			r.Msgs = r.Msgs[:it.Limit]
			if it.Limit > 0 {
				r.Next = r.Msgs[it.Limit-1].Mid
			}
		}
		reply.Results[i] = r
	}
	return reply, nil
}

// readOldKey reads all that there is of a key, for the last mid: that of after
// may be a client's, who may say anything.
func readOldKey(ctx context.Context, c Caller, key string, after int64) (ReadResult, error) {
	var old GetPrivateReply
	if err := call(ctx, c, "MessageRPC.GetPrivate", &GetPrivateArgs{Key: key}, &old); err != nil {
		return ReadResult{}, err
	}
	var r ReadResult
	now := mid.Of(wallclock.Now())
	for _, m := range old.Msgs {
		if m == nil {
			continue
		}
		body, err := msg.Canonical(m.Msg)
		if err != nil {
			continue // no client could have read it either
		}
		if m.MsgId > after {
			r.Msgs = append(r.Msgs, Stored{Msg: body, Mid: m.MsgId})
		}
		if !mid.Foreign(m.MsgId, now) {
			r.Last = max(r.Last, m.MsgId)
		}
	}
	return r, nil
}

// secondsLeft turns an absolute expiry into the seconds that old calls carry.
func secondsLeft(expireAt int64) uint {
	if expireAt == 0 {
		return 0
	}
	return uint(max(1, expireAt-wallclock.Now().Unix()))
}
