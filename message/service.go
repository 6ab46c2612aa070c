package message

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

const (
	// readBatch is how many keys are read at once, and readBytes how much a
	// reply to several keys may hold. What does not fit is answered as failed,
	// to be asked for again; one key alone is always answered whole.
	readBatch = 64
	readBytes = 64 << 20
	// maxToken is more than a client can send.
	maxToken = 4096
)

// Service is MessageRPC, what comets and webs call (docs/protocol.md, "RPC").
// The calls of the contract are in service_old.go.
type Service struct {
	shards  *shards
	timeout time.Duration
	now     func() time.Time
	view    func() peer.ViewReply // nil: this daemon sees no ring
	clock   Clock                 // nil: nobody knows whether now is right
	pepper  atomic.Pointer[config.Secret]
	waits   peer.Waits // of saves
}

// open returns the context of one call: the caller's budget, but not more than
// rpc.timeout.
func (s *Service) open(budget int64) (context.Context, context.CancelFunc) {
	return peer.Within(context.Background(), budget, s.timeout)
}

// Save keeps messages and answers for each with the mid that it got.
func (s *Service) Save(args *peer.SaveArgs, reply *peer.SaveReply) (err error) {
	defer rpcnet.Recover("MessageRPC.Save", &err)
	reply.Results = make([]peer.SaveResult, len(args.Items))
	left, inTime := s.waits.Left(args.Sent, args.Budget)
	if !inTime { // its caller has gone to another daemon, or given up
		for i := range reply.Results {
			reply.Results[i].Code = peer.Failed
		}
		return nil
	}
	ctx, cancel := s.open(left)
	defer cancel()
	items := make([]item, 0, len(args.Items))
	index := make([]int, 0, len(args.Items)) // of items in args.Items
	for i, it := range args.Items {
		if checkSave(it, args.Bodies) != nil {
			reply.Results[i].Code = peer.Invalid
			continue
		}
		items = append(items, item{
			key:   it.Key,
			msg:   msg.Message{Body: args.Bodies[it.Body], Expires: it.ExpireAt, Nonce: it.Nonce},
			floor: it.Floor, known: it.Known, retry: it.Retry, named: it.Named, pending: it.Pending,
		})
		index = append(index, i)
	}
	for n, r := range s.shards.save(ctx, items) {
		code := codeOf(r.err)
		reply.Results[index[n]] = peer.SaveResult{Code: code, Mid: r.mid, Prev: r.prev}
		if glog.V(2) {
			glog.Infof("message: saved key=%q mid=%d prev=%d bytes=%d code=%v", items[n].key, r.mid, r.prev, len(items[n].msg.Body), code)
		}
	}
	return nil
}

func checkSave(it peer.SaveItem, bodies []json.RawMessage) error {
	if err := peer.CheckKey(it.Key); err != nil {
		return err
	}
	switch {
	case it.Body < 0 || it.Body >= len(bodies) || len(bodies[it.Body]) == 0:
		return invalid("body %d of %d", it.Body, len(bodies))
	case !msg.ValidNonce(it.Nonce), it.Named && it.Nonce == "":
		return invalid("nonce of %d bytes", len(it.Nonce))
	case it.ExpireAt <= 0 || it.ExpireAt > maxExpiry:
		return invalid("expires at %d", it.ExpireAt)
	}
	return nil
}

// Read answers for each key with what is kept of it.
func (s *Service) Read(args *peer.ReadArgs, reply *peer.ReadReply) (err error) {
	defer rpcnet.Recover("MessageRPC.Read", &err)
	ctx, cancel := s.open(args.Budget)
	defer cancel()
	reply.Results = make([]peer.ReadResult, len(args.Items))
	queries := make([]query, 0, len(args.Items))
	index := make([]int, 0, len(args.Items))
	for i, it := range args.Items {
		if peer.CheckKey(it.Key) != nil {
			reply.Results[i].Code = peer.Invalid
			continue
		}
		queries = append(queries, query{key: it.Key, after: it.After, limit: it.Limit})
		index = append(index, i)
	}
	size := 0
	for len(queries) > 0 {
		n := min(readBatch, len(queries))
		for j, f := range s.shards.read(ctx, queries[:n]) {
			r := readResult(f)
			bytes := 0
			for _, m := range r.Msgs {
				bytes += len(m.Msg)
			}
			if size > 0 && size+bytes > readBytes {
				r = peer.ReadResult{Code: peer.Failed}
			} else {
				size += bytes
			}
			reply.Results[index[j]] = r
		}
		queries, index = queries[n:], index[n:]
	}
	return nil
}

func readResult(f found) peer.ReadResult {
	if f.err != nil {
		return peer.ReadResult{Code: codeOf(f.err)}
	}
	r := peer.ReadResult{Last: f.last, Trimmed: f.trimmed, Next: f.next}
	if len(f.msgs) > 0 {
		r.Msgs = make([]peer.Stored, len(f.msgs))
		for i, m := range f.msgs {
			r.Msgs[i] = peer.Stored{Msg: m.Body, Mid: m.Mid, ExpireAt: m.Expires}
		}
	}
	return r
}

// Shards tells the ring over the stores.
func (s *Service) Shards(_ int, reply *peer.ShardsReply) (err error) {
	defer rpcnet.Recover("MessageRPC.Shards", &err)
	*reply = peer.ShardsReply{Base: shardBase, Nodes: s.shards.weights()}
	return nil
}

// TokenAdd keeps a token of a key, or renews it.
func (s *Service) TokenAdd(args *peer.TokenArgs, _ *int) (err error) {
	defer rpcnet.Recover("MessageRPC.TokenAdd", &err)
	if err := checkToken(args); err != nil {
		return err
	}
	ctx, cancel := s.open(args.Budget)
	defer cancel()
	return failure(s.shards.addToken(ctx, newToken(s.pepper.Load().Bytes(), args.Key, args.Token, args.Expire, s.now())))
}

func checkToken(args *peer.TokenArgs) error {
	if err := peer.CheckKey(args.Key); err != nil {
		return err
	}
	switch {
	case args.Token == "" || len(args.Token) > maxToken:
		return invalid("token of %d bytes, want 1..%d", len(args.Token), maxToken)
	case args.Expire < 0:
		return invalid("expire %d, want seconds from now", args.Expire)
	}
	return nil
}

// TokenCheck tells what is known of a key and a token.
func (s *Service) TokenCheck(args *peer.TokenArgs, reply *peer.TokenReply) (err error) {
	defer rpcnet.Recover("MessageRPC.TokenCheck", &err)
	if err := peer.CheckKey(args.Key); err != nil {
		return err
	}
	ctx, cancel := s.open(args.Budget)
	defer cancel()
	*reply, err = s.shards.checkToken(ctx, args.Key, hashToken(s.pepper.Load().Bytes(), args.Key, args.Token))
	return failure(err)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{peer.ErrInvalid}, args...)...)
}

// failure makes err one that peer recognises at the other end.
func failure(err error) error {
	if err == nil || errors.Is(err, peer.ErrInvalid) || errors.Is(err, peer.ErrFailed) {
		return err
	}
	return fmt.Errorf("%w: %w", peer.ErrFailed, err)
}

// codeOf says the same in a reply.
func codeOf(err error) peer.Code {
	switch {
	case err == nil:
		return peer.OK
	case errors.Is(err, peer.ErrConflict):
		return peer.Conflict
	case errors.Is(err, peer.ErrInvalid):
		return peer.Invalid
	}
	return peer.Failed
}
