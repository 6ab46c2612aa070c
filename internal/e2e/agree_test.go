package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"gopush-cluster/internal/testenv"
)

// viewReply is the answer of CometRPC.View and MessageRPC.View.
type viewReply struct {
	Nodes map[string]int
	Epoch int64
	Addrs map[string][]string
}

// TestAllSeeOneRing changes the ring again and again and reads it from each
// daemon: they agree in a moment, and on what was done.
func TestAllSeeOneRing(t *testing.T) {
	t.Parallel()
	c := start(t, options{nodes: []string{"node1", "node2", "node3"}, webs: 2})
	comets := c.comets
	agree := func(want map[string]int) {
		t.Helper()
		addrs := make(map[string][]string)
		for i, d := range comets {
			if node := fmt.Sprintf("node%d", i+1); want[node] > 0 {
				addrs[node] = []string{d.rpc}
			}
		}
		testenv.Eventually(t, patience, func() error {
			var epoch int64
			for _, d := range c.daemons() {
				if !d.Running() {
					continue
				}
				var got viewReply
				switch d.kind {
				case "comet":
					got = call[viewReply](t, dialRPC(t, d.rpc), "CometRPC.View", 0)
				case "message":
					got = call[viewReply](t, dialRPC(t, d.rpc), "MessageRPC.View", 0)
				default:
					got = nodesOf(t, d)
					got.Epoch = epoch // a web tells none
				}
				if epoch == 0 {
					epoch = got.Epoch
				}
				if got.Epoch != epoch || !maps.Equal(got.Nodes, want) || !maps.EqualFunc(got.Addrs, addrs, slices.Equal[[]string]) {
					return fmt.Errorf("%s%v sees %+v, want %v at %v, of epoch %d", d.kind, d.stat, got, want, addrs, epoch)
				}
			}
			return nil
		})
	}
	agree(map[string]int{"node1": 1, "node2": 1, "node3": 1})
	for w := 2; w <= 4; w++ {
		c.gopush("weight", "node2", fmt.Sprint(w))
		c.gopush("weight", "node1", fmt.Sprint(w+3))
	}
	agree(map[string]int{"node1": 7, "node2": 4, "node3": 1})
	comets[0].Stop()
	agree(map[string]int{"node2": 4, "node3": 1})
	comets[0].Start()
	comets[1].Stop()
	comets[1].Start()
	agree(map[string]int{"node1": 1, "node2": 1, "node3": 1})
	c.gopush("drain", "node3")
	comets[2].WaitExit(patience)
	agree(map[string]int{"node1": 1, "node2": 1})
}

// nodesOf returns the ring as a web sees it.
func nodesOf(t *testing.T, web *daemon) viewReply {
	t.Helper()
	r := get(t, web.admin, "/1/admin/nodes")
	var a struct {
		Data struct {
			Nodes []struct {
				Name   string
				Weight int
				RPC    []string
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	v := viewReply{Nodes: make(map[string]int), Addrs: make(map[string][]string)}
	for _, n := range a.Data.Nodes {
		v.Nodes[n.Name], v.Addrs[n.Name] = n.Weight, n.RPC
	}
	return v
}
