package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/registry"
)

// The protocols that a client asks an address for.
const (
	protoWebSocket = "1"
	protoTCP       = "2"
)

// ringTime is how long who asks for an address, or for the ring, waits for a
// web that has just started and has not read the ring.
const ringTime = time.Second

// owner returns the node that key lives on. While the ring was never read it
// waits until ctx ends, for errNoComet sends the caller to comets that are fine.
func (s *Server) owner(ctx context.Context, key string) (registry.Node, error) {
	if err := s.dir.Await(ctx); err != nil {
		return registry.Node{}, fmt.Errorf("web: no ring: %w", err)
	}
	node, ok := s.dir.Lookup(key)
	if !ok {
		return registry.Node{}, errNoComet
	}
	return node, nil
}

// addresses returns where the key's comet takes clients of the protocol asked
// for: as it advertised them, host:port each, never none.
func (s *Server) addresses(q *request) ([]string, error) {
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	proto := q.query.Get(q.names.proto)
	if proto != protoWebSocket && proto != protoTCP {
		return nil, fmt.Errorf("%w: %s: want 1 (WebSocket) or 2 (TCP)", errParam, q.names.proto)
	}
	ctx, cancel := context.WithTimeout(q.Context(), ringTime)
	defer cancel()
	node, err := s.owner(ctx, key)
	if err != nil {
		return nil, err
	}
	addrs := node.Info().TCP
	if proto == protoWebSocket {
		addrs = node.Info().WS
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%w: node=%q advertises none of protocol %s", errNoComet, node.Name, proto)
	}
	return addrs, nil
}

// serverOne answers with one address, by chance among those advertised. Its
// clients split it on the colon, so it has to hold exactly one: an IPv6 address
// is for those who ask for all.
func (s *Server) serverOne(q *request) ([]byte, error) {
	addrs, err := s.addresses(q)
	if err != nil {
		return nil, err
	}
	var plain []string
	for _, a := range addrs {
		if strings.Count(a, ":") == 1 {
			plain = append(plain, a)
		}
	}
	if len(plain) == 0 {
		return nil, fmt.Errorf("%w: each address holds more than one colon", errNoComet)
	}
	addr := plain[0]
	if len(plain) > 1 {
		addr = plain[s.intn(len(plain))]
	}
	data := append([]byte(`{"server":`), quote(addr)...)
	return append(data, '}'), nil
}

// serverAll answers with every address.
func (s *Server) serverAll(q *request) ([]byte, error) {
	addrs, err := s.addresses(q)
	if err != nil {
		return nil, err
	}
	data := []byte(`{"server":[`)
	for i, a := range addrs {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, quote(a)...)
	}
	return append(data, "]}"...), nil
}

// time answers with the present as a mid. Clients use it as one, so it is a
// multiple of mid.Step like the others, which JavaScript reads exactly.
func (s *Server) time(*request) ([]byte, error) {
	now := mid.Of(s.now())
	return fmt.Appendf(nil, `{"timeid":%d}`, now-now%mid.Step), nil
}
