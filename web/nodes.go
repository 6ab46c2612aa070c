package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// node is one place in the ring, as /1/admin/nodes shows it.
type node struct {
	Name     string    `json:"name"`
	Weight   int       `json:"weight"`
	Share    float64   `json:"share"`  // of all keys, 0..1
	Active   string    `json:"active"` // the registered child that serves it; empty: away
	Standbys int       `json:"standbys"`
	RPC      []string  `json:"rpc"` // addresses of the active child, or the last that were known
	TCP      []string  `json:"tcp"`
	WS       []string  `json:"ws"`
	Alive    bool      `json:"alive"`         // it answered this web's last ping
	Seen     time.Time `json:"seen,omitzero"` // when it last answered; zero: never
}

// nodes answers /1/admin/nodes: the ring as this web knows it.
func (s *Server) nodes(q *request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(q.Context(), ringTime)
	defer cancel()
	if err := s.dir.Await(ctx); err != nil {
		return nil, fmt.Errorf("web: no ring: %w", err)
	}
	ring, shares := s.dir.Snapshot(), s.dir.Shares()
	nodes := make([]node, len(ring.Comets))
	for i, n := range ring.Comets {
		info := n.Info()
		nodes[i] = node{
			Name: n.Name, Weight: n.Weight, Share: shares[n.Name],
			RPC: info.RPC, TCP: info.TCP, WS: info.WS,
		}
		if c, ok := n.Active(); ok {
			nodes[i].Active, nodes[i].Standbys = c.Name, len(n.Children)-1
		}
		nodes[i].Alive, nodes[i].Seen = s.dir.Pinged(n.Name)
	}
	data, err := json.Marshal(struct {
		Nodes []node `json:"nodes"`
		Epoch int64  `json:"epoch"` // of the ring: webs that tell the same agree
	}{nodes, ring.Epoch})
	if err != nil {
		return nil, fmt.Errorf("web: nodes: %w", err)
	}
	return data, nil
}
