package directory

import (
	"slices"
	"sort"
)

// choice draws message daemons at random, by their weights. It is never changed
// after it was made.
type choice struct {
	members []member
	sums    []int // sums[i] is the weight of members[:i+1]
}

// newChoice leaves out who is known to be dead, unless all are: a ping that
// failed is no reason to refuse without trying.
func newChoice(all []member) *choice {
	c := &choice{members: slices.Clone(all)}
	c.members = slices.DeleteFunc(c.members, func(m member) bool { return m.link.state.Load() == dead })
	if len(c.members) == 0 {
		c.members = all
	}
	sum := 0
	for _, m := range c.members {
		sum += max(m.weight, 1)
		c.sums = append(c.sums, sum)
	}
	return c
}

// pick returns the member in whose part of the sum random(sum) falls; nil if
// there is none.
func (c *choice) pick(random func(int) int) *link {
	if len(c.members) == 0 {
		return nil
	}
	r := random(c.sums[len(c.sums)-1])
	return c.members[sort.SearchInts(c.sums, r+1)].link
}

// without returns the choice among the others of all, dead or not: who is left
// when somebody could not be reached.
func without(all []member, tried []*link) *choice {
	return newChoice(slices.DeleteFunc(slices.Clone(all), func(m member) bool { return slices.Contains(tried, m.link) }))
}
