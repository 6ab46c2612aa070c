package comet

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
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
	asked    bool    // former owners, how far they are; some may have given no answer
	sure     int64   // the ring in which nobody else is known to have given more than given; 0: none
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
	trouble rate.Sometimes // keeps saves that fail from filling the log

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
	sure := int64(0)
	if ring := e.moves.Epoch(); len(e.moves.Former(key)) == 0 {
		sure = ring // and what former owners gave is in the high mark to come
	}
	return func(high int64) *channel {
		return &channel{key: key, env: e, given: high, sure: sure}
	}
}
