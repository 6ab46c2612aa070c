package web

import (
	"context"
	"errors"
	"time"

	"gopush-cluster/internal/peer"
)

const (
	// syncEvery is how long a message that was saved without its comet may wait
	// for the comet to hear of it; only who is connected after all waits.
	syncEvery = time.Second
	// syncKeys bounds the keys of one round and shard.
	syncKeys = 1000
)

// followPending tells comets of the messages that a web has saved without them,
// until ctx ends. Every web does so: a key that two of them tell is looked at
// twice, and no web's death leaves it untold.
func (s *Server) followPending(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.syncPending(ctx)
		}
	}
}

// syncPending makes one round.
func (s *Server) syncPending(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	pending, err := s.stored.Pending(ctx, syncKeys)
	if err != nil || len(pending) == 0 {
		return // the next round asks again; a message daemon that is away is said elsewhere
	}
	byNode := make(map[string][]peer.PendingKey)
	for _, k := range pending {
		if node, ok := s.dir.Lookup(k.Key); ok {
			byNode[node.Name] = append(byNode[node.Name], k)
		}
	}
	var told []peer.PendingKey
	for _, keys := range byNode {
		told = append(told, s.tell(ctx, keys)...)
	}
	if len(told) == 0 {
		return
	}
	s.count.synced.Add(int64(len(told)))
	if err := s.stored.Settle(ctx, told); err != nil {
		s.failed.printf("web: pending keys not settled keys=%d err=%q", len(told), err)
	}
}

// tell tells the comet that owns keys, which live on one node, and returns those
// that need not be told again.
func (s *Server) tell(ctx context.Context, keys []peer.PendingKey) []peer.PendingKey {
	comet, err := s.dir.Comet(keys[0].Key)
	if err != nil {
		return nil
	}
	codes, err := comet.Sync(ctx, keys)
	if errors.Is(err, peer.ErrNoMethod) {
		return keys // an old comet, which cannot be told
	}
	if err != nil {
		return nil
	}
	var told []peer.PendingKey
	for i, code := range codes {
		if code == peer.OK {
			told = append(told, keys[i])
		}
	}
	return told
}
