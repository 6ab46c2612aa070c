package comet

import (
	"sync"
	"sync/atomic"
	"time"

	"gopush-cluster/internal/mid"
)

// retries knows the nonces of pushes that came a second time. Web repeats a push
// whose answer did not come, and says so; but where this process was frozen, or
// a connection, the repeat may be read before the original. The original then
// finds its message among those that its channel knows of, where the store does
// not look for it, unless it is marked as a retry too.
type retries struct {
	any atomic.Bool // there are some: the rule is that there are none

	mu             sync.Mutex
	recent, former map[string]struct{} // guarded by mu
	turned         time.Time           // when former was recent, guarded by mu
}

// retryAge is how long a nonce is kept at least. An original that is still under
// way after that has lost its connection long ago.
const retryAge = time.Minute

// mark notes p if it is a retry, and makes it one if its retry came before it.
func (r *retries) mark(p *push, now time.Time) {
	if p.expireAt == 0 || p.named || !p.retry && !r.any.Load() { // a named one is looked for everywhere anyway
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turned) >= retryAge {
		r.recent, r.former, r.turned = make(map[string]struct{}), r.recent, now
	}
	if p.retry {
		r.recent[p.nonce] = struct{}{}
	} else {
		_, recent := r.recent[p.nonce]
		_, former := r.former[p.nonce]
		p.retry = recent || former
	}
	r.any.Store(len(r.recent)+len(r.former) > 0)
}

// strange notes that messages are stored here whose pushes this comet may yet
// read for the first time: web repeats one in another way where its connection
// is lost, and stores it itself if it must, while the original waits in the
// buffer of a comet, or a proxy, that is frozen.
func (c *channel) strange() { c.stranger = c.env.now().Add(retryAge) }

// searched returns above which mid the store has to look for the nonces of
// pushes: above known, or from before the time in which a stranger was stored.
func (c *channel) searched() int64 {
	now := c.env.now()
	if now.After(c.stranger) {
		return c.known
	}
	return min(c.known, mid.Of(now)-baseAge)
}
