package e2e

import (
	"slices"
	"testing"
	"time"
)

// paced is what one comet sent away, as its clients saw it.
type paced struct {
	lost []time.Time // when they were sent away
	back []time.Time // when another comet, or the same again, had accepted them
}

// departures returns, by the comet that sent them away, when the followers were
// sent away and when they were accepted again.
func departures(followers []*follower) map[string]*paced {
	all := make(map[string]*paced)
	of := func(addr string) *paced {
		if all[addr] == nil {
			all[addr] = new(paced)
		}
		return all[addr]
	}
	for _, f := range followers {
		f.mu.Lock()
		for i, at := range f.lost {
			of(f.from[i]).lost = append(of(f.from[i]).lost, at)
		}
		for _, a := range f.came {
			if a.from != "" {
				of(a.from).back = append(of(a.from).back, a.at)
			}
		}
		f.mu.Unlock()
	}
	return all
}

// busiest returns the most of times that lie within one second.
func busiest(times []time.Time) int {
	times = slices.SortedFunc(slices.Values(times), time.Time.Compare)
	most, first := 0, 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// mostIn is how many clients may come in one second at a pace of rate a second:
// so many, the twentieth of them that may go at once, and, where a busy machine
// stands still for a second, those of that second too.
func mostIn(rate int) int { return 2*rate + max(1, rate/20) }

// keptPace checks that each comet sent its clients away at the pace of rate a
// second, and that they were accepted again at no other.
func keptPace(t *testing.T, comets []*daemon, followers []*follower, rate int) {
	t.Helper()
	all := departures(followers)
	var back []time.Time
	for i, d := range comets {
		p := new(paced)
		for _, addr := range []string{d.tcp, d.ws} {
			if q := all[addr]; q != nil {
				p.lost, p.back = append(p.lost, q.lost...), append(p.back, q.back...)
			}
		}
		if len(p.lost) == 0 {
			continue
		}
		back = append(back, p.back...)
		gone, came := busiest(p.lost), busiest(p.back)
		t.Logf("comet %d: %d sent away, %d in the busiest second; %d accepted again, %d in the busiest second; migrate.rate %d",
			i+1, len(p.lost), gone, len(p.back), came, rate)
		if most := mostIn(rate); gone > most || came > most {
			t.Errorf("comet %d: %d sent away in a second and %d accepted again, want no more than %d", i+1, gone, came, most)
		}
	}
	t.Logf("all comets: %d accepted again, %d in the busiest second", len(back), busiest(back))
}
