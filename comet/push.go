package comet

import (
	"context"
	"sync/atomic"

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
