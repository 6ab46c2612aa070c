package chaos

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	troubles := []Trouble{
		{Name: "kill", Targets: []string{"a", "b"}, Least: time.Second, Most: 5 * time.Second},
		{Name: "freeze", Targets: []string{"a", "b", "c"}, Least: time.Second, Most: 3 * time.Second},
	}
	const d = 5 * time.Minute
	for seed := range uint64(20) {
		steps := Plan(seed, d, troubles)
		if again := Plan(seed, d, troubles); !slices.Equal(steps, again) {
			t.Fatalf("seed %d: two plans differ", seed)
		}
		if other := Plan(seed+1, d, troubles); slices.Equal(steps, other) {
			t.Errorf("seeds %d and %d: one plan", seed, seed+1)
		}
		if len(steps) < 100 {
			t.Errorf("seed %d: %d steps in %v", seed, len(steps), d)
		}
		on, used := make(map[string]Step), make(map[string]bool)
		healed := make(map[string]time.Duration)
		for i, s := range steps {
			used[s.Trouble.Name+" "+s.Target] = true
			begun, is := on[s.Target]
			last, was := healed[s.Target]
			switch {
			case i > 0 && s.At < steps[i-1].At, s.At > d:
				t.Errorf("seed %d: step %d of %v is at %v", seed, i, d, s.At)
			case s.Heal && (!is || begun.Trouble != s.Trouble):
				t.Errorf("seed %d: %v is healed of what it has not", seed, s)
			case s.Heal && (s.At < begun.At+s.Trouble.Least || s.At > begun.At+s.Trouble.Most):
				t.Errorf("seed %d: %s of %s takes %v", seed, s.Trouble.Name, s.Target, s.At-begun.At)
			case !s.Heal && is:
				t.Errorf("seed %d: %s has two troubles", seed, s.Target)
			case !s.Heal && was && s.At < last+respite:
				t.Errorf("seed %d: %s is left alone for %v only", seed, s.Target, s.At-last)
			}
			if s.Heal {
				delete(on, s.Target)
				healed[s.Target] = s.At
			} else {
				on[s.Target] = s
			}
			if len(on) > sideBySide {
				t.Errorf("seed %d: %d troubles at a time", seed, len(on))
			}
		}
		if len(on) > 0 {
			t.Errorf("seed %d: never healed: %v", seed, on)
		}
		if len(used) != 5 {
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
		for _, s := range Plan(seed, time.Minute, troubles) {
			if !s.Heal {
				begun[s.Trouble.Name]++
			}
		}
		least, most := slices.Min(slices.Collect(maps.Values(begun))), slices.Max(slices.Collect(maps.Values(begun)))
		if len(begun) != 12 || least < 3 || most > least+1 {
			t.Errorf("seed %d: %v", seed, begun)
		}
	}
}
