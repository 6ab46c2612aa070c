package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

const (
	// chunk bounds the keys of one call to a comet, so that a call is short and
	// its loss costs few keys their certainty.
	chunk = 1000
	// chunksInFlight bounds the calls for one mprivate to one comet. Comets do
	// not share it: one that hangs keeps only its own keys waiting.
	chunksInFlight = 4
	// keyTime is what each key beyond the first chunk adds to the time of an
	// mprivate. A single push has pushTime; a comet needs far less than this.
	keyTime = 100 * time.Microsecond
)

// splitKeys reads "k1, k2,k3".
func splitKeys(list string) ([]string, error) {
	if n := strings.Count(list, ",") + 1; n > maxKeys {
		return nil, fmt.Errorf("%w: k: want at most %d keys, got %d", errParam, maxKeys, n)
	}
	var keys []string
	seen := make(map[string]bool)
	for key := range strings.SplitSeq(list, ",") {
		key = strings.TrimSpace(key)
		if key != "" && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: k: want at least one key", errParam)
	}
	return keys, nil
}

// timeFor is what a push to so many keys may take.
func timeFor(keys int) time.Duration {
	return pushTime - answerTime + time.Duration(max(0, keys-chunk))*keyTime
}

// deliverMany pushes m to keys, which differ, and returns those that failed in
// their order, and why the first of them did.
func (s *Server) deliverMany(ctx context.Context, m message, keys []string) (failed []string, why error) {
	ctx, cancel := context.WithTimeout(ctx, timeFor(len(keys)))
	defer cancel()

	all := make([]*target, len(keys))
	var good []*target
	for i, key := range keys {
		all[i] = newTarget(key)
		if len(key) <= wire.MaxKey {
			good = append(good, all[i])
		}
	}
	var nodes sync.WaitGroup
	for _, group := range s.byNode(good) {
		nodes.Go(func() {
			var calls errgroup.Group // for its limit; no call returns an error
			calls.SetLimit(chunksInFlight)
			for part := range slices.Chunk(group, chunk) {
				calls.Go(func() error {
					contain(func() { s.deliver(ctx, m, part) })
					return nil
				})
			}
			_ = calls.Wait()
		})
	}
	nodes.Wait()
	for _, t := range all {
		if t.code != peer.OK {
			failed = append(failed, t.key)
			if why == nil {
				why = t.err()
			}
		}
	}
	return failed, why
}
