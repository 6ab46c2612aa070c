package chaos

import (
	"math/rand/v2"
	"testing"
)

// TestPool proves that each key is born before its first push, gets no more than
// its share, and gets old once.
func TestPool(t *testing.T) {
	left, born := make(map[string]int), 0
	p := &Pool{Name: "k", Size: 5, Cap: 40}
	p.Born = func(key string) {
		if _, ok := left[key]; ok {
			t.Errorf("%s is born twice", key)
		}
		left[key] = p.Cap
		born++
	}
	p.Old = func(key string) {
		if left[key] < 0 {
			t.Errorf("%s is old twice", key)
		}
		left[key] = -1
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		n := 1 + rnd.IntN(10)
		key := p.Pick(rnd, n)
		if got, ok := left[key]; !ok || got < n {
			t.Fatalf("%d pushes to %q, which has room for %d", n, key, got)
		}
		left[key] -= n
	}
	p.End()
	for key, n := range left {
		if n != -1 {
			t.Errorf("%s never gets old", key)
		}
	}
	if born < 100 {
		t.Errorf("only %d keys", born)
	}
}
