package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Node is one place in the ring, as /1/admin/nodes shows it.
type Node struct {
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
	nodes, epoch := s.ring()
	if nodes == nil {
		nodes = []Node{}
	}
	data, err := json.Marshal(struct {
		Nodes []Node `json:"nodes"`
		Epoch int64  `json:"epoch"` // of the ring: webs that tell the same agree
	}{nodes, epoch})
	if err != nil {
		return nil, fmt.Errorf("web: nodes: %w", err)
	}
	return data, nil
}
