package comet

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/golang/glog"

	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
)

// call is one RPC that pushes to one or more keys, and waits for all of them.
type call struct {
	ctx     context.Context // ends when the caller's budget does
	results []peer.PushResult
	open    atomic.Int32  // pushes without an answer, and one for the caller itself
	done    chan struct{} // closed when open reaches 0
}

func newCall(ctx context.Context, keys int) *call {
	c := &call{ctx: ctx, results: make([]peer.PushResult, keys), done: make(chan struct{})}
	c.open.Store(int32(keys) + 1)
	return c
}

func (c *call) finish() {
	if c.open.Add(-1) == 0 {
		close(c.done)
	}
}

// push is one message for one key.
type push struct {
	*payload
	call     *call
	index    int   // into call.results
	expireAt int64 // unix second; 0: only to who is online now
	nonce    string
	retry    bool
	named    bool // the nonce is the caller's id
	answered atomic.Bool
	handed   bool // to former owners of the key; owned by the channel's turn
}

// claim takes the right to answer. It returns false when the caller has given up
// and was told that nothing is promised: p is then not delivered, and if it was
// stored after all, a later fill or fetch shows it.
func (p *push) claim() bool { return p.answered.CompareAndSwap(false, true) }

// answer tells the caller what became of p, which was claimed.
func (p *push) answer(r peer.PushResult) {
	p.call.results[p.index] = r
	p.call.finish()
}

// refuse answers with a code unless the caller has given up.
func (p *push) refuse(code peer.Code) {
	if p.claim() {
		p.answer(peer.PushResult{Code: code})
	}
}

// abandoned reports whether the caller has given up.
func (p *push) abandoned() bool { return p.answered.Load() }

// push hands each push to the channels of its keys and waits for all of them, at
// most until ctx ends.
func (s *Server) push(ctx context.Context, pushes []peer.Push) []peer.PushResult {
	n := 0
	for _, p := range pushes {
		n += len(p.Keys)
	}
	s.stats.pushes.Add(int64(n))
	c := newCall(ctx, n)
	items := make([]push, n)
	keys := make([]string, 0, n)
	if glog.V(2) {
		defer func() {
			for i, r := range c.results {
				glog.Infof("comet: pushed key=%q mid=%d bytes=%d code=%v", keys[i], r.Mid, len(items[i].msg), r.Code)
			}
		}()
	}
	for _, p := range pushes {
		body := &payload{msg: p.Msg}
		bad := checkPush(p)
		for _, key := range p.Keys {
			item := &items[len(keys)]
			item.payload, item.call, item.index = body, c, len(keys)
			item.expireAt, item.nonce, item.retry, item.named = p.ExpireAt, p.Nonce, p.Retry, p.Named
			keys = append(keys, key)
			switch {
			case bad != nil || peer.CheckKey(key) != nil:
				item.refuse(peer.Invalid)
			case s.owns(key) != nil:
				item.refuse(peer.NotMine)
			default:
				s.env.table.acquire(key, s.env.channel(key)).post(pushed{item})
			}
		}
	}
	s.await(c, items, keys)
	return c.results
}

// pushLate answers for pushes that were read when their callers had given up, as
// those are which wait for a comet that is frozen. They have heard that nothing is
// promised, or the message was stored another way: it must not be stored again.
func (s *Server) pushLate(pushes []peer.Push) []peer.PushResult {
	var results []peer.PushResult
	for _, p := range pushes {
		for range p.Keys {
			results = append(results, peer.PushResult{Code: peer.Failed})
		}
	}
	s.stats.pushes.Add(int64(len(results)))
	s.stats.late.Add(int64(len(results)))
	return results
}

// await returns when each of items, which are c's, has its answer. What has none
// when c's time is over fails.
func (s *Server) await(c *call, items []push, keys []string) {
	c.finish()
	select {
	case <-c.done:
		return
	case <-c.ctx.Done():
	}
	for i := range items {
		if !items[i].claim() {
			continue
		}
		s.stats.failed.Add(1)
		items[i].answer(peer.PushResult{Code: peer.Failed})
		if ch := s.env.table.find(keys[i]); ch != nil {
			ch.post(woken{}) // what waits behind it need not
		}
	}
	<-c.done // whoever claimed one before us answers at once
}

func checkPush(p peer.Push) error {
	if err := msg.Check(p.Msg); err != nil {
		return fmt.Errorf("%w: %w", peer.ErrInvalid, err)
	}
	if p.ExpireAt < 0 || p.ExpireAt > 0 && (p.Nonce == "" || !msg.ValidNonce(p.Nonce)) {
		return fmt.Errorf("%w: expiry or nonce", peer.ErrInvalid)
	}
	return nil
}
