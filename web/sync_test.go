package web

import (
	"context"
	"errors"
	"net/rpc"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
)

func TestPendingKeysStayUntilTheirCometKnows(t *testing.T) {
	key := func(k string) peer.PendingKey { return peer.PendingKey{Key: k, Mid: 80} }
	tests := []struct {
		name string
		sync func(node string, keys []peer.PendingKey) ([]peer.Code, error)
		stay []peer.PendingKey
	}{
		{"told", nil, nil},
		{"one is not its own", func(_ string, keys []peer.PendingKey) ([]peer.Code, error) {
			codes := make([]peer.Code, len(keys))
			if i := slices.Index(keys, key("b")); i >= 0 {
				codes[i] = peer.NotMine
			}
			return codes, nil
		}, []peer.PendingKey{key("b")}},
		{"one comet is out of reach", func(node string, keys []peer.PendingKey) ([]peer.Code, error) {
			if node == "node2" {
				return nil, errors.New("refused")
			}
			return make([]peer.Code, len(keys)), nil
		}, []peer.PendingKey{key("z")}},
		{"an old comet cannot be told", func(string, []peer.PendingKey) ([]peer.Code, error) {
			return nil, rpc.ServerError("rpc: can't find method CometRPC.Sync")
		}, nil},
		{"an answer that is too short", func(string, []peer.PendingKey) ([]peer.Code, error) { return nil, nil },
			[]peer.PendingKey{key("a"), key("b"), key("z")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig())
			f.cluster.nodes["node2"] = registry.Node{Name: "node2", Weight: 1}
			f.cluster.place = func(k string) string {
				if k == "z" {
					return "node2"
				}
				return "node1"
			}
			f.cluster.comet.sync = tt.sync
			f.messages.pending = []peer.PendingKey{key("a"), key("b"), key("z")}
			f.syncPending(t.Context())
			if !slices.Equal(f.messages.pending, tt.stay) {
				t.Errorf("still pending: %v, want %v", f.messages.pending, tt.stay)
			}
		})
	}
}

func TestPendingKeysAreFollowed(t *testing.T) {
	f := newFixture(t, testConfig())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.followPending(ctx) }()
		for range 2 {
			f.messages.mu.Lock()
			f.messages.pending = []peer.PendingKey{{Key: "k", Mid: 80}}
			f.messages.mu.Unlock()
			time.Sleep(syncEvery + time.Millisecond)
			synctest.Wait()
			if left, _ := f.messages.Pending(ctx, 1); len(left) != 0 {
				t.Errorf("still pending after %v: %v", syncEvery, left)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := f.count.synced.Load(); n != 2 {
			t.Errorf("counted %d, want 2", n)
		}
	})
}
