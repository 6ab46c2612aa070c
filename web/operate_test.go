package web

import (
	"slices"
	"testing"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Operators name a node; its comet is asked, and nobody else.
func TestOperators(t *testing.T) {
	const ok, param, internal = `{"ret":0}`, `{"ret":65534}`, `{"ret":65535}`
	for _, tt := range []struct {
		name, url string
		down      error // of the comet
		want      string
		asked     []string
	}{
		{"weight", "/1/admin/node/weight?node=node1&weight=7", nil, ok, []string{"node1 weight=7"}},
		{"largest weight", "/1/admin/node/weight?weight=100&node=node1", nil, ok, []string{"node1 weight=100"}},
		{"no weight", "/1/admin/node/weight?node=node1", nil, param, nil},
		{"weight of nothing", "/1/admin/node/weight?node=node1&weight=0", nil, param, nil},
		{"too much weight", "/1/admin/node/weight?node=node1&weight=101", nil, param, nil},
		{"half a weight", "/1/admin/node/weight?node=node1&weight=1.5", nil, param, nil},
		{"weight of no node", "/1/admin/node/weight?weight=1", nil, param, nil},
		{"weight of an unknown node", "/1/admin/node/weight?node=node9&weight=1", nil, param, nil},
		{"weight, comet out of reach", "/1/admin/node/weight?node=node1&weight=1", rpcnet.ErrNotSent, internal, []string{"node1 weight=1"}},
		{"weight, comet is an old one", "/1/admin/node/weight?node=node1&weight=1", peer.ErrNoMethod, internal, []string{"node1 weight=1"}},
		{"drain", "/1/admin/node/drain?node=node1", nil, ok, []string{"node1 drain"}},
		{"drain of no node", "/1/admin/node/drain", nil, param, nil},
		{"drain of an unknown node", "/1/admin/node/drain?node=node9", nil, param, nil},
		{"drain, no answer", "/1/admin/node/drain?node=node1", rpcnet.ErrLost, internal, []string{"node1 drain"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newContract(t)
			f.cluster.comet.down = tt.down
			_, body := exchange(t, f.AdminAddrs()[0], post(tt.url, ""))
			if body != tt.want {
				t.Errorf("answer = %s, want %s", body, tt.want)
			}
			if got := f.cluster.comet.asked; !slices.Equal(got, tt.asked) {
				t.Errorf("comets were asked %q, want %q", got, tt.asked)
			}
		})
	}
}
