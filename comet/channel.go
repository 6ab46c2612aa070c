package comet

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
)

// channel is everything comet holds for one key.
//
// It is an actor: post queues an event, and whoever finds the channel idle runs
// its turns. Events end quickly and never wait; what takes time (a save, a read)
// is started by one turn and comes back as another event.
type channel struct {
	// Set when it is made, then read-only.
	key  string
	home *tableShard
	env  *env

	holders int // guarded by home.mu: sessions, pushes and operations under way

	present atomic.Int32 // how many sessions there are; the turn stores it

	mu      sync.Mutex
	inbox   []event // guarded by mu
	running bool    // guarded by mu: somebody is running turns

	// The turn owns what follows.

	sessions []*session
	pushes   []*push // not yet answered, in order
	saving   bool    // a run of pushes is under way to the store
	handing  bool    // a push that is not stored is under way to former owners of the key
	asked    bool    // former owners have said how far they are
	leaving  int     // holds to release when this turn ends

	based    bool      // the store's last mid of the key has been learned
	basing   bool      // and is being asked for
	known    int64     // every stored message up to it was handed to all sessions that joined before it
	given    int64     // the largest mid given to anyone, or the base
	target   int64     // known has to get here: the largest mid known to be stored
	stranger time.Time // until then a push may come that others have stored; see strange
	doubt    *doubt    // a save may have been carried out that is said to have failed; nil: none

	waiting []*delivery // not yet handed out, by rising mid
	filling bool        // what lies between known and the next one is being fetched
}

// env is what all channels of a comet share.
type env struct {
	table  *table
	store  store
	limits func() limits
	now    func() time.Time
	stats  *counters

	retries retries

	// For keys on their way (move.go).
	moves    Moves
	forwards *forwards
	owns     func(key string) error
	handOver func(key string, m int64)
}

// limits are the bounds that SIGHUP may change.
type limits struct {
	sessions int           // of one key
	queue    int           // messages that may wait for one session
	hold     time.Duration // how long live messages wait for a client that fetches by itself
	bytes    int           // that may wait for one session
	total    int64         // bytes that may wait for all sessions
}

// pushesWaiting bounds the pushes of one key that wait for its store. Further
// ones fail at once.
const pushesWaiting = 4096

// event is what happens to a channel. handle runs in its turn.
type event interface{ handle(c *channel) }

// post hands ev to the channel. The poster holds the channel, and keeps holding
// it until the event was handled.
func (c *channel) post(ev event) {
	c.mu.Lock()
	c.inbox = append(c.inbox, ev)
	if c.running {
		c.mu.Unlock()
		return
	}
	c.running = true
	for len(c.inbox) > 0 {
		ev := c.inbox[0]
		c.inbox = c.inbox[1:]
		c.mu.Unlock()
		c.turn(ev)
		c.mu.Lock()
	}
	c.inbox = nil
	c.running = false
	c.mu.Unlock()
}

// turn handles one event, then everything that became possible by it. Holds are
// released at its very end, for the last one lets the channel go.
func (c *channel) turn(ev event) {
	ev.handle(c)
	c.hand()
	c.pump()
	c.askBase()
	c.askLast()
	if n := c.leaving; n > 0 {
		c.leaving = 0
		c.release(n)
	}
}

// channel makes a channel for a key that has none, for table.acquire.
func (e *env) channel(key string) func(high int64) *channel {
	return func(high int64) *channel {
		return &channel{key: key, env: e, given: high}
	}
}

// pushed brings a new push. Its hold lasts until it is answered.
type pushed struct{ *push }

func (e pushed) handle(c *channel) {
	if len(c.pushes) >= pushesWaiting {
		c.env.stats.failed.Add(1)
		e.refuse(peer.Failed)
		c.leaving++
		return
	}
	c.env.retries.mark(e.push, c.env.now())
	c.pushes = append(c.pushes, e.push)
}

// woken makes the channel look again: a caller has given up.
type woken struct{}

func (woken) handle(c *channel) { c.leaving++ }

// pump works on the pushes at the head of the queue until it has to wait.
func (c *channel) pump() {
	if c.saving {
		return
	}
	c.forget()
	for !c.saving && len(c.pushes) > 0 {
		p := c.pushes[0]
		switch {
		case p.expireAt > 0:
			c.save()
		case !c.handing && !p.handed && c.askFormer(p.payload, func(given int64) event { return handedOn{p, given} }):
			c.handing = true
		case c.handing && c.storedFirst():
			c.save() // which waits for nobody
		case c.handing:
			return
		case len(c.sessions) == 0:
			c.pop(1)
			p.refuse(peer.OK) // reached everybody: there is nobody
		case c.based && c.doubt == nil:
			c.pop(1)
			c.give(p)
		case c.storedFirst():
			c.save() // which tells what p waits for
		default:
			return // it waits for the store, within its own time
		}
	}
	if len(c.pushes) == 0 {
		c.pushes = nil
	}
}

// storedFirst puts the pushes that are to be stored before the others, and
// reports whether there are any. They are all under way at the same time, so
// that none of their callers can tell.
func (c *channel) storedFirst() bool {
	later := func(p *push) int {
		if p.expireAt > 0 {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(c.pushes, func(a, b *push) int { return later(a) - later(b) })
	return c.pushes[0].expireAt > 0
}

// forget drops the pushes whose callers have given up. They may have been saved
// another way by now, and a save looks for its nonce above known only.
func (c *channel) forget() {
	n := len(c.pushes)
	c.pushes = slices.DeleteFunc(c.pushes, (*push).abandoned)
	c.leaving += n - len(c.pushes)
}

// pop removes n pushes from the head of the queue.
func (c *channel) pop(n int) {
	clear(c.pushes[:n])
	c.pushes = c.pushes[n:]
	c.leaving += n
}

// give hands out a message that is not stored: its mid follows the largest one
// that anybody here was given, so that it leaves room for what is stored next.
func (c *channel) give(p *push) {
	if len(c.waiting) >= c.env.limits().queue {
		c.env.stats.dropped.Add(1)
		p.refuse(peer.Failed)
		return
	}
	if !p.claim() {
		return
	}
	m := c.queue(p.payload)
	c.hand()
	p.answer(peer.PushResult{Mid: m})
}

// queue gives a message that is not stored its mid and puts it behind what
// waits.
func (c *channel) queue(p *payload) int64 {
	c.given = mid.After(c.given)
	c.waiting = append(c.waiting, &delivery{payload: p, mid: c.given, prev: c.target})
	return c.given
}

// stored takes note of a message that the store gave mid m after prev. d is nil
// if it is not to be sent by itself.
func (c *channel) stored(d *delivery, m, prev int64) {
	if mid.Foreign(m, mid.Of(c.env.now())) {
		return
	}
	// A nonce hit was stored before: a fill hands it out if nobody has yet.
	hit := prev == m
	if !hit {
		c.base(prev)
		c.doubt = nil
	}
	c.raise(m)
	// What does not fit is in the store: the fill finds it there.
	if d != nil && !hit && len(c.waiting) < c.env.limits().queue {
		c.waiting = append(c.waiting, d)
	}
}

// noted brings word of a message that somebody else stored.
type noted struct{ mid int64 }

func (e noted) handle(c *channel) {
	c.strange()
	c.leaving++
	c.stored(nil, e.mid, e.mid)
	c.forwardStored(nil, e.mid, e.mid)
}

// base learns the last mid that the store holds.
func (c *channel) base(last int64) {
	if c.based {
		return
	}
	c.based = true
	c.known = last
	now := mid.Of(c.env.now())
	if last > now-baseAge {
		c.strange() // whoever stored it
	}
	c.given = max(c.given, now-baseAge)
	c.raise(last)
	for _, s := range c.sessions {
		s.upto = c.known
		s.late = s.greeted.Load()
		close(s.based)
		c.settle(s)
	}
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

// baseAge is how far below the clock the first mid that is not stored lies:
// below anything that a daemon whose clock is off by a minute may still save.
const baseAge = 120 * mid.Second

// hand gives what waits to the sessions, in order, fetching what lies between.
func (c *channel) hand() {
	if c.filling {
		return
	}
	if len(c.sessions) == 0 {
		c.waiting = nil
		c.known = max(c.known, c.target) // vacuously: there is nobody to hand it to
		return
	}
	for len(c.waiting) > 0 {
		d := c.waiting[0]
		if d.prev > c.known {
			c.fill(d.prev)
			return
		}
		c.waiting = c.waiting[1:]
		if d.stored && d.mid <= c.known {
			continue
		}
		c.handOne(d)
	}
	c.waiting = nil
	if c.based && c.target > c.known {
		c.fill(c.target)
	}
}

// handOne gives d to every session.
func (c *channel) handOne(d *delivery) {
	if d.stored {
		c.known = d.mid
	}
	if d.expired(c.env.now()) {
		return
	}
	for _, s := range c.sessions {
		s.take(d)
	}
}
