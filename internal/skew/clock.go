package skew

import (
	"sync"
	"time"

	"gopush-cluster/internal/wallclock"
)

const (
	// maxTrip is how long a question may take to be of use. The answer was given
	// at some moment of that time, taken to be its middle; a longer one says that
	// somebody was frozen, or the network stood still.
	maxTrip = time.Second
	// worthTelling is by how much an offset must differ from what the other
	// daemon was told last for it to be told at once.
	worthTelling = time.Second
	// memory is for how long an offset counts: six rounds of questions.
	memory = time.Minute
	// maxPeers and maxName bound what callers can make this daemon remember.
	maxPeers, maxName = 1024, 256
	// farthest is what larger offsets become, which might overflow: they are as
	// wrong.
	farthest = 100 * 365 * 24 * time.Hour
)

// Clock is what is known of this daemon's clock beside those of the others.
type Clock struct {
	now func() time.Time // the time of day; set by New

	mu    sync.Mutex
	peers map[string]*peer

	said said // owned by Run
}

// peer is what is known of the clock of another daemon.
type peer struct {
	measured, told offset
}

// offset is how far another clock was ahead of ours.
type offset struct {
	by time.Duration
	at time.Time // when it was learned, on the monotonic clock; zero: never
}

func (o offset) known(now time.Time) bool { return !o.at.IsZero() && now.Sub(o.at) < memory }

// current returns the newest of what is known: measured here, or else told.
func (p *peer) current(now time.Time) (by time.Duration, ok bool) {
	if p.measured.known(now) {
		return p.measured.by, true
	}
	return p.told.by, p.told.known(now)
}

// New returns a Clock that knows nothing of others yet.
func New() *Clock { return &Clock{now: wallclock.Now, peers: make(map[string]*peer)} }

// Measure finds out how far the clock of a daemon is ahead of ours. ask is to
// tell it what was measured last, if that is known, and to return what time it
// is there. It is called again at once if the daemon is to be told better. The
// error is ask's.
func (c *Clock) Measure(name string, ask func(last time.Duration, known bool) (time.Time, error)) error {
	for range 2 {
		last, known := c.measured(name)
		began, sent := time.Now(), c.now()
		theirs, err := ask(last, known)
		if err != nil {
			return err
		}
		trip, got := time.Since(began), c.now()
		stepped := got.Round(0).Sub(sent.Round(0)) - trip // our own clock, meanwhile
		if trip > maxTrip || stepped.Abs() > maxTrip {
			return nil // thrown away
		}
		by := theirs.Sub(sent.Round(0).Add(trip / 2))
		c.learn(name, by, func(p *peer) *offset { return &p.measured })
		if known && (by-last).Abs() < worthTelling {
			return nil
		}
	}
	return nil
}

// Told takes down what another daemon has measured: its clock is ahead of ours
// by that much.
func (c *Clock) Told(name string, ahead time.Duration) {
	c.learn(name, ahead, func(p *peer) *offset { return &p.told })
}

// measured returns what was measured of a daemon last.
func (c *Clock) measured(name string) (by time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[name]; p != nil && p.measured.known(time.Now()) {
		return p.measured.by, true
	}
	return 0, false
}

func (c *Clock) learn(name string, by time.Duration, where func(*peer) *offset) {
	if name == "" || len(name) > maxName {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[name]
	if p == nil {
		if len(c.peers) >= maxPeers {
			return
		}
		p = &peer{}
		c.peers[name] = p
	}
	*where(p) = offset{by: max(-farthest, min(farthest, by)), at: time.Now()}
}
