package ketama

import (
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strconv"
)

const (
	// Base is how many ticks one unit of weight has, unless told otherwise.
	Base = 255
	// MaxWeight is what a larger weight is taken for. Configuration stops at
	// 100; this bounds what a damaged znode may cost, which reaches us unasked.
	MaxWeight = 1000
)

// HashRing says which node a key lives on. The nil ring is an empty one.
type HashRing struct {
	defaultSpots int    // ticks per unit of weight
	ticks        []tick // by hash, then by node
	length       int    // len(ticks)
}

// tick is one of the points of a node on the circle.
type tick struct {
	node string
	hash uint32
}

// New returns the ring of the nodes (node → weight) with base ticks per unit of
// weight; a base below 1 means Base. A node whose weight is below 1 is left
// out: it owns nothing.
func New(nodes map[string]int, base int) *HashRing {
	if base < 1 {
		base = Base
	}
	n := 0
	for _, weight := range nodes {
		n += base * clamp(weight)
	}
	ticks := make([]tick, 0, n)
	var buf []byte
	for node, weight := range nodes {
		for i := 1; i <= base*clamp(weight); i++ {
			buf = append(append(buf[:0], node...), ':')
			buf = strconv.AppendInt(buf, int64(i), 10)
			ticks = append(ticks, tick{node: node, hash: place(buf)})
		}
	}
	return newRing(ticks, base)
}

// newRing sorts ticks and keeps them.
func newRing(ticks []tick, base int) *HashRing {
	slices.SortFunc(ticks, func(a, b tick) int {
		// Two ticks at one place: the smaller node name is first, and so the
		// one that every daemon finds.
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node))
	})
	return &HashRing{defaultSpots: base, ticks: ticks, length: len(ticks)}
}

// Node returns the node that key lives on, and false if the ring is empty. It
// allocates nothing for a key of up to 255 bytes, which is every valid one.
func (r *HashRing) Node(key string) (string, bool) {
	if r == nil || r.length == 0 {
		return "", false
	}
	var buf [255]byte
	return r.at(place(append(buf[:0], key...))), true
}

// at returns the node of the first tick at or after hash, wrapping round. The
// ring must not be empty.
func (r *HashRing) at(hash uint32) string {
	lo, hi := 0, r.length
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.ticks[mid].hash < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == r.length {
		lo = 0
	}
	return r.ticks[lo].node
}

// Share returns the part of the circle that each node owns, 0 to 1; together
// they are 1. Nodes without ticks are not in it.
func (r *HashRing) Share() map[string]float64 {
	share := make(map[string]float64)
	if r == nil || r.length == 0 {
		return share
	}
	// A tick owns what lies between the one before it and itself; the unsigned
	// difference is right for the first one too, which wraps round.
	var sum uint64
	before := r.ticks[r.length-1].hash
	for _, t := range r.ticks {
		part := uint64(t.hash - before)
		share[t.node] += float64(part) / (1 << 32)
		sum += part
		before = t.hash
	}
	if sum == 0 { // all ticks in one place: the first has the whole circle
		share[r.ticks[0].node] = 1
	}
	return share
}

// clamp returns the weight that counts.
func clamp(weight int) int { return min(max(weight, 0), MaxWeight) }

// place returns where b lies on the circle.
func place(b []byte) uint32 {
	sum := sha1.Sum(b)
	return binary.BigEndian.Uint32(sum[sha1.Size-4:])
}
