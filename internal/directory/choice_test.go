package directory

import (
	"math"
	"math/rand/v2"
	"testing"
)

func someMembers(weights ...int) []member {
	var all []member
	for _, w := range weights {
		all = append(all, member{link: &link{kind: message}, weight: w})
	}
	return all
}

func TestPickEveryNumber(t *testing.T) {
	all := someMembers(1, 3, 2)
	c := newChoice(all)
	for r, want := range []int{0, 1, 1, 1, 2, 2} {
		got := c.pick(func(n int) int {
			if n != 6 {
				t.Fatalf("asked for a number below %d, want 6, the sum of the weights", n)
			}
			return r
		})
		if got != all[want].link {
			t.Errorf("number %d: not member %d", r, want)
		}
	}
}

func TestPickDistribution(t *testing.T) {
	weights := []int{1, 2, 5, 10, 100}
	all := someMembers(weights...)
	random := rand.New(rand.NewPCG(1, 2)).IntN
	c := newChoice(all)
	const draws = 118_000 // 1,000 for each unit of weight
	count := make(map[*link]int)
	for range draws {
		count[c.pick(random)]++
	}
	for i, m := range all {
		want := float64(1000 * weights[i])
		// Five standard deviations; the seed is fixed, so this passes always or never.
		if got := float64(count[m.link]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("weight %d: %v of %d draws, want about %v", weights[i], got, draws, want)
		}
	}
}

func TestChoiceLeavesOutTheDead(t *testing.T) {
	all := someMembers(1, 1, 1)
	all[0].link.state.Store(dead)
	all[2].link.state.Store(dead)
	one := newChoice(all)
	all[1].link.state.Store(dead)
	none := newChoice(all)
	all[1].link.state.Store(alive)
	rest := without(all, []*link{all[1].link})
	for _, c := range []struct {
		name string
		got  *choice
		want []member
	}{
		{"one is alive, or not known to be dead", one, all[1:2]},
		{"all are dead: all are tried", none, all},
		{"the only one alive was tried: the dead are left", rest, []member{all[0], all[2]}},
		{"all were tried", without(all, []*link{all[0].link, all[1].link, all[2].link}), nil},
		{"nobody is there", newChoice(nil), nil},
	} {
		if len(c.got.members) != len(c.want) {
			t.Errorf("%s: %d members, want %d", c.name, len(c.got.members), len(c.want))
			continue
		}
		for i, m := range c.got.members {
			if m != c.want[i] {
				t.Errorf("%s: member %d is another", c.name, i)
			}
		}
		if len(c.want) == 0 && c.got.pick(rand.IntN) != nil {
			t.Errorf("%s: picked somebody", c.name)
		}
	}
}

func TestWeightBelowOneCountsAsOne(t *testing.T) {
	all := someMembers(0, -3)
	c := newChoice(all)
	for r := range 2 {
		if got := c.pick(func(int) int { return r }); got != all[r].link {
			t.Errorf("number %d: not member %d", r, r)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	c := newChoice(someMembers(1, 2, 3, 4, 5, 6, 7, 8))
	b.ReportAllocs()
	for b.Loop() {
		c.pick(rand.IntN)
	}
}
