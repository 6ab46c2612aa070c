package comet

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// pace is how fast this comet sends sessions away, whatever the reason: there is
// one for all of them, for a change of the ring may still be under way when the
// next one comes, or when the comet stops.
type pace struct {
	lim *rate.Limiter // of sessions

	mu    sync.Mutex
	least rate.Limit // guarded by mu: what drain needs to be done in time
}

func newPace(perSecond int) *pace {
	r := rate.Limit(perSecond)
	return &pace{lim: rate.NewLimiter(r, burst(r))}
}

// set takes over migrate.rate.
func (p *pace) set(perSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	setRate(p.lim, max(rate.Limit(perSecond), p.least))
}

// hurry makes it no slower than least from now on.
func (p *pace) hurry(least rate.Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least = least
	setRate(p.lim, max(p.lim.Limit(), least))
}

// intake is how fast a comet takes its clients again that was restarted in place.
// They were sent away one after the other and have been refused since, so all of
// them stand at the door when it opens. They go in as they went out: at
// migrate.rate, whoever comes first first, for as long as it may have taken to
// send them away. Before begin everybody goes in.
type intake struct {
	lim  *rate.Limiter // of clients
	stop chan struct{} // closed by end

	// Set by begin, before anybody comes.
	kept  func() (kept, known bool) // whether this comet found its place kept; nil: no pace
	until time.Time

	over atomic.Bool // no pace any more
}

// turnTime is how long a client may wait for its turn. Who would have to wait for
// longer is sent off and comes again: a client that gives up by itself would
// leave its turn unused.
const turnTime = 5 * time.Second

func newIntake(perSecond int) *intake {
	r := rate.Limit(perSecond)
	return &intake{lim: rate.NewLimiter(r, burst(r)), stop: make(chan struct{})}
}

// begin makes clients wait for their turn, until it is known that the place was
// not kept, or the time is over.
func (in *intake) begin(kept func() (kept, known bool), until time.Time) {
	in.kept, in.until = kept, until
}

// set takes over migrate.rate.
func (in *intake) set(perSecond int) { setRate(in.lim, rate.Limit(perSecond)) }

// turn waits for a client's turn, or returns ErrBusy.
func (in *intake) turn() error {
	if in.kept == nil || in.over.Load() {
		return nil
	}
	if kept, known := in.kept(); known && !kept || !time.Now().Before(in.until) {
		in.over.Store(true)
		return nil
	}
	r := in.lim.Reserve()
	d := r.Delay()
	if d > turnTime {
		r.Cancel()
		return ErrBusy
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-in.stop:
		return ErrBusy
	}
}

// end sends off who waits.
func (in *intake) end() { close(in.stop) }

func setRate(lim *rate.Limiter, r rate.Limit) {
	lim.SetLimit(r)
	lim.SetBurst(burst(r))
}

// burst keeps a pace even: no more at once than a twentieth of a second's worth.
func burst(r rate.Limit) int { return max(1, int(r/20)) }
