package chaos

import (
	"fmt"
	"math/rand/v2"
)

// Pool is the keys that are pushed to now. Each has a life: after Cap pushes it is
// old, and a new one takes its place. So no key gets more than is kept for it,
// unless that is wanted, and a long run checks as much of each key as a short
// one. One goroutine at a time.
type Pool struct {
	Name string
	Size int // keys at a time
	Cap  int // pushes to each
	// Born is called for each key before the first push to it, Old after the last
	// was begun.
	Born, Old func(key string)

	keys []*life
	last int // number of the newest
}

// life is a key and how much of its life is left.
type life struct {
	key  string
	left int
}

// Pick returns a key for n pushes.
func (p *Pool) Pick(rnd *rand.Rand, n int) string {
	for len(p.keys) < p.Size {
		p.keys = append(p.keys, p.born(p.Cap/2+rnd.IntN(p.Cap/2+1))) // so that they do not all end at once
	}
	i := rnd.IntN(p.Size)
	l := p.keys[i]
	if l.left < n {
		p.Old(l.key)
		l = p.born(p.Cap)
		p.keys[i] = l
	}
	l.left -= n
	return l.key
}

func (p *Pool) born(cap int) *life {
	p.last++
	l := &life{key: fmt.Sprintf("%s%d", p.Name, p.last), left: cap}
	p.Born(l.key)
	return l
}

// End makes all keys old.
func (p *Pool) End() {
	for _, l := range p.keys {
		p.Old(l.key)
	}
	p.keys = nil
}
