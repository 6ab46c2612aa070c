package chaos

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// fingerprint is what of bouts the seed decides.
func fingerprint(bouts []Bout) string {
	s := ""
	for _, b := range bouts {
		s += fmt.Sprintln(b.Name, b.Target, b.Way, b.Begins, b.Ends)
	}
	return s
}

// alone proves that no target has two troubles at a time, and returns the most
// bouts that overlap.
func alone(t *testing.T, bouts []Bout) int {
	t.Helper()
	most := 0
	for i, a := range bouts {
		overlap := 1
		for j, b := range bouts {
			if i == j || b.Begins > a.Begins || b.Ends <= a.Begins {
				continue
			}
			overlap++
			for _, name := range append([]string{a.Target}, a.With...) {
				if name == b.Target || slices.Contains(b.With, name) {
					t.Errorf("%s has two troubles at %v: %s, %s", name, a.Begins, a.Name, b.Name)
				}
			}
		}
		most = max(most, overlap)
		if took := a.Ends - a.Begins; took < a.Least || took > a.Most {
			t.Errorf("%s of %s takes %v", a.Name, a.Target, took)
		}
	}
	return most
}

func TestPlan(t *testing.T) {
	troubles := []Trouble{
		{Name: "kill", Targets: []string{"a", "b"}, Ways: []string{"up", "down"}, Least: time.Second, Most: 5 * time.Second},
		{Name: "freeze", Targets: []string{"a", "b", "c", "d"}, Least: time.Second, Most: 3 * time.Second},
		{Name: "both", Targets: []string{"c"}, With: []string{"d"}, Least: time.Second, Most: 3 * time.Second},
	}
	const d = 5 * time.Minute
	for seed := range uint64(20) {
		bouts := Plan(seed, d, troubles)
		if again := Plan(seed, d, troubles); fingerprint(again) != fingerprint(bouts) {
			t.Fatalf("seed %d: two plans differ", seed)
		}
		if other := Plan(seed+1, d, troubles); fingerprint(other) == fingerprint(bouts) {
			t.Errorf("seeds %d and %d: one plan", seed, seed+1)
		}
		if len(bouts) < 100 {
			t.Errorf("seed %d: %d bouts in %v", seed, len(bouts), d)
		}
		used := make(map[string]bool)
		healed := make(map[string]time.Duration)
		for i, b := range bouts {
			used[b.Name+" "+b.Target+" "+b.Way] = true
			last, was := healed[b.Target]
			switch {
			case i > 0 && b.Begins < bouts[i-1].Begins, b.Ends > d:
				t.Errorf("seed %d: bout %d of %v is at %v to %v", seed, i, d, b.Begins, b.Ends)
			case was && b.Begins < last+respite:
				t.Errorf("seed %d: %s is left alone for %v only", seed, b.Target, b.Begins-last)
			}
			healed[b.Target] = b.Ends
		}
		if n := alone(t, bouts); n > sideBySide {
			t.Errorf("seed %d: %d troubles at a time", seed, n)
		}
		if len(used) != 9 {
			t.Errorf("seed %d: only %s happen", seed, fmt.Sprint(used))
		}
	}
}

// TestPlanTakesTurns proves that no kind of trouble is left out by chance.
func TestPlanTakesTurns(t *testing.T) {
	var troubles []Trouble
	for i := range 12 {
		name := fmt.Sprint(i)
		troubles = append(troubles, Trouble{Name: name, Targets: []string{"at " + name}, Least: time.Second, Most: 2 * time.Second})
	}
	troubles = append(troubles, Trouble{Name: "too long", Targets: []string{"x"}, Least: time.Hour, Most: time.Hour})
	for seed := range uint64(20) {
		begun := make(map[string]int)
		for _, b := range Plan(seed, time.Minute, troubles) {
			begun[b.Name]++
		}
		least, most := slices.Min(slices.Collect(maps.Values(begun))), slices.Max(slices.Collect(maps.Values(begun)))
		if len(begun) != 12 || least < 3 || most > least+2 {
			t.Errorf("seed %d: %v", seed, begun)
		}
	}
}

// TestPlanSeries proves that each series comes as often as it says.
func TestPlanSeries(t *testing.T) {
	series := []Series{
		{Trouble{Name: "kill", Targets: []string{"a", "b", "c"}, Least: time.Second, Most: 2 * time.Second}, 40, time.Second},
		{Trouble{Name: "expire", Targets: []string{"all"}, Least: 5 * time.Second, Most: 6 * time.Second}, 10, 3 * time.Second},
		{Trouble{Name: "mid-save", Targets: []string{"a"}, With: []string{"r"}, Least: time.Second, Most: time.Second}, 5, time.Second},
	}
	for seed := range uint64(20) {
		bouts := PlanSeries(seed, series)
		begun := make(map[string]int)
		for _, b := range bouts {
			begun[b.Name]++
		}
		if want := map[string]int{"kill": 40, "expire": 10, "mid-save": 5}; !maps.Equal(begun, want) {
			t.Errorf("seed %d: %v, want %v", seed, begun, want)
		}
		alone(t, bouts)
		if end := End(bouts); end < time.Minute || end > 3*time.Minute {
			t.Errorf("seed %d: it takes %v", seed, end)
		}
	}
}
