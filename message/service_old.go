package message

import (
	"encoding/json"
	"fmt"
	"math"

	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// The calls that old comets and webs make. Their names and types are the
// contract's. They carry no budget, no nonce and no floor, and their caller
// decides the mid.

// SavePrivate keeps a message under the mid it brings.
func (s *Service) SavePrivate(args *peer.SavePrivateArgs, _ *int) (err error) {
	defer rpcnet.Recover("MessageRPC.SavePrivate", &err)
	failed, err := s.put([]string{args.Key}, args.Msg, args.MsgId, args.Expire)
	if err != nil {
		return err
	}
	return failure(failed[args.Key])
}

// SavePrivates keeps a message for several keys and names those it could not
// keep it for.
func (s *Service) SavePrivates(args *peer.SavePrivatesArgs, reply *peer.SavePrivatesReply) (err error) {
	defer rpcnet.Recover("MessageRPC.SavePrivates", &err)
	failed, err := s.put(args.Keys, args.Msg, args.MsgId, args.Expire)
	if err != nil {
		return err
	}
	for _, key := range args.Keys {
		if failed[key] != nil {
			reply.FKeys = append(reply.FKeys, key)
			delete(failed, key) // a key named twice failed once
		}
	}
	return nil
}

// put keeps one message for keys and returns what failed, by key. Its error is
// one for all of them.
func (s *Service) put(keys []string, body json.RawMessage, id int64, expire uint) (failed map[string]error, err error) {
	canonical, err := msg.Canonical(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", peer.ErrInvalid, err)
	case id <= 0:
		return nil, invalid("mid %d", id)
	}
	m := msg.Message{Body: canonical, Mid: id, Expires: endOf(s.now(), expire)}
	failed = make(map[string]error)
	seen := make(map[string]bool, len(keys))
	var items []item
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		if err := peer.CheckKey(key); err != nil {
			failed[key] = err
			continue
		}
		items = append(items, item{key: key, msg: m})
	}
	ctx, cancel := s.open(0)
	defer cancel()
	for i, err := range s.shards.put(ctx, items) {
		if err != nil {
			failed[items[i].key] = err
		}
	}
	return failed, nil
}

// GetPrivate returns the messages of a key above MsgId.
func (s *Service) GetPrivate(args *peer.GetPrivateArgs, reply *peer.GetPrivateReply) (err error) {
	defer rpcnet.Recover("MessageRPC.GetPrivate", &err)
	if err := peer.CheckKey(args.Key); err != nil {
		return err
	}
	ctx, cancel := s.open(0)
	defer cancel()
	f := s.shards.read(ctx, []query{{key: args.Key, after: args.MsgId, limit: math.MaxInt32}})[0]
	if f.err != nil {
		return failure(f.err)
	}
	for _, m := range f.msgs {
		reply.Msgs = append(reply.Msgs, &peer.OldMessage{Msg: m.Body, MsgId: m.Mid, GroupId: 0})
	}
	return nil
}

// DelPrivate drops the messages of a key.
func (s *Service) DelPrivate(key string, _ *int) (err error) {
	defer rpcnet.Recover("MessageRPC.DelPrivate", &err)
	if err := peer.CheckKey(key); err != nil {
		return err
	}
	ctx, cancel := s.open(0)
	defer cancel()
	return failure(s.shards.delete(ctx, key))
}

// Ping answers while any store does: a daemon that reaches none of them is
// better left out.
func (s *Service) Ping(_ int, _ *int) (err error) {
	defer rpcnet.Recover("MessageRPC.Ping", &err)
	if !s.shards.up() {
		return failure(s.shards.down())
	}
	return nil
}
