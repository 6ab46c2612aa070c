package peer

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A daemon that was frozen finds calls in its sockets whose callers gave up long
// ago, and did it another way: what they say must not be done now. The budget of
// a call does not tell, for it counts from when the call is read. So a call also
// says when it was sent, by a clock of its caller that does not step; the fastest
// calls so far tell how that clock stands to ours, and what came later than they
// did has waited on its way.

// Sent says when a call was sent.
type Sent struct {
	By int64 // a number of the caller's own; 0: one that does not say
	At int64 // milliseconds on its clock
}

// sender stamps the calls of one client.
type sender struct {
	by   int64
	born time.Time
}

func newSender() sender { return sender{rand.Int64() | 1, time.Now()} }

func (s sender) stamp() Sent { return Sent{s.by, time.Since(s.born).Milliseconds()} }

// Waits finds out how long calls have waited on their way. The zero value is
// ready. It is safe for concurrent use.
type Waits struct {
	mu   sync.Mutex
	born time.Time
	from map[int64]*route
}

// route is what is known of one sender's calls, in milliseconds of our clock.
type route struct {
	ahead int64 // our clock less the sender's, in the fastest call
	at    int64 // when that was
	late  int64 // since when every call is late; 0: not every one
	last  int64 // when the newest call came
}

const (
	// waitDrift is in how many milliseconds two clocks may part by one: 200 ppm.
	waitDrift = 5000
	// waitHeals is after how long of late calls only, in milliseconds, it is the
	// sender's clock that stood still, with the machine it runs on.
	waitHeals = 5000
	// waitSenders bounds how many senders are known.
	waitSenders = 4096
)

// Left returns what is left of a call's budget, milliseconds, and false if that
// is nothing. A call without a budget, or of a sender that does not say when, has
// all of it.
func (w *Waits) Left(s Sent, budget int64) (int64, bool) {
	if s.By == 0 || budget <= 0 {
		return budget, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from == nil {
		w.born, w.from = time.Now(), make(map[int64]*route)
	}
	now := time.Since(w.born).Milliseconds()
	ahead := now - s.At
	p := w.from[s.By]
	if p == nil {
		w.makeRoom()
		w.from[s.By] = &route{ahead: ahead, at: now, last: now}
		return budget, true
	}
	quiet := now - p.last
	p.last = now
	waited := ahead - p.ahead - (now-p.at)/waitDrift
	switch {
	case waited <= 0:
		p.ahead, p.at, p.late = ahead, now, 0
		return budget, true
	case waited < budget:
		p.late = 0
		return budget - waited, true
	case p.late == 0 || quiet > waitHeals/2:
		p.late = now
	case now-p.late > waitHeals:
		p.ahead, p.at, p.late = ahead, now, 0
		return budget, true
	}
	return 0, false
}

// makeRoom forgets the sender that was silent for longest, if there are too many.
// w.mu is held.
func (w *Waits) makeRoom() {
	if len(w.from) < waitSenders {
		return
	}
	var oldest int64
	var first *route
	for by, p := range w.from {
		if first == nil || p.last < first.last {
			oldest, first = by, p
		}
	}
	delete(w.from, oldest)
}
