package web

import (
	"context"
	"fmt"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

// setWeight answers /1/admin/node/weight: the node's comet has another weight
// until it is restarted.
func (s *Server) setWeight(q *request) ([]byte, error) {
	comet, node, err := s.cometOf(q)
	if err != nil {
		return nil, err
	}
	weight, err := integer("weight", q.query.Get("weight"), registry.MinWeight, registry.MaxWeight)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.Context(), s.timeout)
	defer cancel()
	if err := comet.Weight(ctx, int(weight)); err != nil {
		return nil, outcome(fmt.Errorf("node=%q comet=%s: %w", node, comet.Addr(), err))
	}
	glog.Infof("web: weight set node=%q weight=%d", node, weight)
	return nil, nil
}

// drainNode answers /1/admin/node/drain: the node's comet begins to leave.
func (s *Server) drainNode(q *request) ([]byte, error) {
	comet, node, err := s.cometOf(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.Context(), s.timeout)
	defer cancel()
	if err := comet.Drain(ctx); err != nil {
		return nil, outcome(fmt.Errorf("node=%q comet=%s: %w", node, comet.Addr(), err))
	}
	glog.Infof("web: drain asked for node=%q addr=%s", node, comet.Addr())
	return nil, nil
}

// cometOf returns the comet that serves the node which q names.
func (s *Server) cometOf(q *request) (comet *peer.Comet, node string, err error) {
	node = q.query.Get("node")
	ctx, cancel := context.WithTimeout(q.Context(), ringTime)
	defer cancel()
	if err := s.dir.Await(ctx); err != nil {
		return nil, node, fmt.Errorf("web: no ring: %w", err)
	}
	comet, ok := s.dir.Node(node)
	if !ok {
		return nil, node, fmt.Errorf("%w: node = %q: want the name of a node of the ring (/1/admin/nodes)", errParam, node)
	}
	return comet, node, nil
}
