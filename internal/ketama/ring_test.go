package ketama

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// TestVectors holds the ring to the contract's vectors: spots is the number of
// ticks, keys says where each key lives.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/ketama.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Base  int
		Nodes map[string]int
		Spots int
		Keys  map[string]string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, v := range vectors {
		r := New(v.Nodes, v.Base)
		if r.length != v.Spots || len(r.ticks) != v.Spots || r.defaultSpots != v.Base {
			t.Errorf("%v: %d ticks, length %d, base %d, want %d, %d, %d",
				v.Nodes, len(r.ticks), r.length, r.defaultSpots, v.Spots, v.Spots, v.Base)
		}
		for key, want := range v.Keys {
			keys++
			if got, ok := r.Node(key); !ok || got != want {
				t.Errorf("%v: Node(%q) = %q, %v, want %q", v.Nodes, key, got, ok, want)
			}
		}
	}
	if len(vectors) < 6 || keys < 400 {
		t.Fatalf("only %d rings and %d keys were read", len(vectors), keys)
	}
}

func TestEmptyRing(t *testing.T) {
	for name, r := range map[string]*HashRing{
		"nil":             nil,
		"zero value":      new(HashRing),
		"no nodes":        New(nil, Base),
		"weight zero":     New(map[string]int{"node1": 0}, Base),
		"weight negative": New(map[string]int{"node1": -3, "node2": math.MinInt}, Base),
	} {
		if node, ok := r.Node("k"); ok || node != "" {
			t.Errorf("%s: Node = %q, %v, want none", name, node, ok)
		}
		if share := r.Share(); len(share) != 0 {
			t.Errorf("%s: Share = %v, want none", name, share)
		}
	}
}

func TestWeight(t *testing.T) {
	tests := []struct {
		name  string
		nodes map[string]int
		base  int
		ticks int
	}{
		{"the nodes that own nothing are left out", map[string]int{"a": 2, "b": 0, "c": -1}, 10, 20},
		{"a base below one means the usual one", map[string]int{"a": 1}, 0, Base},
		{"a damaged weight is bounded", map[string]int{"a": math.MaxInt}, 1, MaxWeight},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := New(tt.nodes, tt.base)
			if r.length != tt.ticks || len(r.ticks) != tt.ticks {
				t.Errorf("New(%v, %d) has %d ticks, length %d, want %d", tt.nodes, tt.base, len(r.ticks), r.length, tt.ticks)
			}
		})
	}
}

// TestCollision uses node names whose first ticks lie at one place: the smaller
// name owns all of it, and the other one what lies around its further ticks.
func TestCollision(t *testing.T) {
	for _, pair := range [][2]string{{"node65233", "node797"}, {"node154441", "node167742"}, {"node12726", "node200424"}} {
		smaller, larger := pair[0], pair[1]
		hash := place([]byte(smaller + ":1"))
		if hash != place([]byte(larger+":1")) {
			t.Fatalf("%v do not collide", pair)
		}
		r := New(map[string]int{smaller: 1, larger: 1}, 1)
		for _, h := range []uint32{hash, hash - 1, hash + 1} { // with one place only, everything is its
			if got := r.at(h); got != smaller {
				t.Errorf("%v: owner of %d = %q, want %q", pair, h, got, smaller)
			}
		}
		if share := r.Share(); share[smaller] != 1 || share[larger] != 0 {
			t.Errorf("%v: Share = %v, want all for %q", pair, share, smaller)
		}
	}
}

// TestEdges looks at the places beside the ticks, where an off-by-one hides.
func TestEdges(t *testing.T) {
	r := newRing([]tick{{"b", 20}, {"a", 10}, {"c", math.MaxUint32 - 5}}, 1)
	for hash, want := range map[uint32]string{
		0: "a", 9: "a", 10: "a", 11: "b", 20: "b", 21: "c",
		math.MaxUint32 - 5: "c", math.MaxUint32 - 4: "a", math.MaxUint32: "a",
	} {
		if got := r.at(hash); got != want {
			t.Errorf("at(%d) = %q, want %q", hash, got, want)
		}
	}
	const circle = 1 << 32
	want := map[string]float64{"a": 16.0 / circle, "b": 10.0 / circle, "c": (circle - 26.0) / circle}
	for node, share := range r.Share() {
		if share != want[node] {
			t.Errorf("Share of %s = %g, want %g", node, share, want[node])
		}
	}
}

// TestShare compares the shares with where keys really go.
func TestShare(t *testing.T) {
	r := New(map[string]int{"a": 1, "b": 2, "c": 5}, Base)
	const keys = 100_000
	got := make(map[string]float64)
	for i := range keys {
		node, _ := r.Node(fmt.Sprintf("user-%d", i))
		got[node] += 1.0 / keys
	}
	sum := 0.0
	for node, share := range r.Share() {
		sum += share
		if math.Abs(share-got[node]) > 0.01 {
			t.Errorf("Share of %s = %.4f, but it has %.4f of the keys", node, share, got[node])
		}
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("the shares sum to %g, want 1", sum)
	}
}

// TestOnlyGainedKeysMove adds a node: a key either stays or goes to it.
func TestOnlyGainedKeysMove(t *testing.T) {
	before := New(map[string]int{"a": 1, "b": 1}, Base)
	after := New(map[string]int{"a": 1, "b": 1, "c": 1}, Base)
	moved := 0
	for i := range 10_000 {
		key := fmt.Sprintf("user-%d", i)
		was, _ := before.Node(key)
		is, _ := after.Node(key)
		if is == was {
			continue
		}
		moved++
		if is != "c" {
			t.Errorf("%s moved from %s to %s, want only moves to c", key, was, is)
		}
	}
	if moved == 0 {
		t.Error("the new node got no key")
	}
}

func TestNodeAllocatesNothing(t *testing.T) {
	r := New(map[string]int{"node1": 1, "node2": 2}, Base)
	for _, key := range []string{"k", strings.Repeat("k", 255)} {
		if n := testing.AllocsPerRun(100, func() { r.Node(key) }); n != 0 {
			t.Errorf("Node of a key of %d bytes allocates %g times, want 0", len(key), n)
		}
	}
	if _, ok := r.Node(strings.Repeat("k", 300)); !ok {
		t.Error("a longer key has no node")
	}
}

func BenchmarkNode(b *testing.B) {
	for _, nodes := range []int{2, 100} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			weights := make(map[string]int)
			for i := range nodes {
				weights[fmt.Sprintf("node%d", i)] = 1
			}
			r := New(weights, Base)
			b.ReportAllocs()
			for b.Loop() {
				r.Node("user-102947")
			}
		})
	}
}
