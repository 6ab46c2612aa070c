package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Limits are the settings of the cluster that its promises depend on.
type Limits struct {
	Store int           // storage.store
	Hold  time.Duration // legacy.hold
	// Late is how long after its expiry a message that left in time may still
	// arrive on a socket: what a machine at its limits needs from one end of a
	// connection to the other.
	Late time.Duration
}

// Violation is one broken promise.
type Violation struct {
	Invariant string // "I1" … "I9", or "hang"
	Text      string
	At        time.Duration // when it showed

	// What its story is about; zero where it does not matter.
	key    string
	bodies []string
	mids   []int64
	socket int
	fetch  int
	client int
}

func (v Violation) String() string { return v.Invariant + ": " + v.Text }

// Report is what Check found.
type Report struct {
	Violations []Violation // in the order in which they showed
	Pushes     int
	Repeated   int // tries again with the same Idempotency-Key
	Promised   int // pairs of push and key that were acknowledged
	Refused    int // answered, and not acknowledged
	Unanswered int
	Gaps       int // that clients were told of
	Sockets    int
	Delivered  int // messages on sockets
	Fetches    int // that were answered
	Fetched    int // messages in them
}

func (r Report) String() string {
	return fmt.Sprintf("%d pushes: %d promised, %d refused, %d without an answer, %d tried again; %d sockets: %d messages, %d gaps; %d fetches: %d messages",
		r.Pushes, r.Promised, r.Refused, r.Unanswered, r.Repeated, r.Sockets, r.Delivered, r.Gaps, r.Fetches, r.Fetched)
}

// Count returns how often each invariant was broken.
func (r Report) Count() map[string]int {
	n := make(map[string]int)
	for _, v := range r.Violations {
		n[v.Invariant]++
	}
	return n
}

// Check decides from a history alone which promises were broken.
func Check(events []Event, limits Limits) Report {
	x := arrange(events, limits)
	var r Report
	report := func(v Violation) { r.Violations = append(r.Violations, v) }
	for _, rule := range []func(*index, func(Violation)){
		checkKept,     // I1, I8
		checkAnswers,  // I8
		checkPayloads, // I2, I5
		checkCopies,   // I5, I7
		checkSockets,  // I3, I6
		checkFetches,  // I3
		checkSequence, // I3
		checkGaps,     // I4
		checkExpiry,   // I9
		checkHangs,
	} {
		rule(x, report)
	}
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	r.count(x)
	return r
}

func (r *Report) count(x *index) {
	r.Pushes, r.Sockets, r.Fetches, r.Gaps = len(x.pushes), len(x.sockets), len(x.fetches), len(x.gaps)
	for _, p := range x.pushes {
		r.Repeated += len(p.tries) - 1
		for _, key := range p.keys {
			switch {
			case p.acked(key):
				r.Promised++
			case !p.tries[len(p.tries)-1].answered():
				r.Unanswered++
			default:
				r.Refused++
			}
		}
	}
	for _, s := range x.sockets {
		r.Delivered += len(s.got)
	}
	for _, f := range x.fetches {
		r.Fetched += len(f.msgs)
	}
}
