package comet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/batch"
	"gopush-cluster/internal/ketama"
	"gopush-cluster/internal/peer"
)

// Messages is the part of the message daemons that comet needs.
type Messages interface {
	// Save stores the items of args, which lie on one shard, and answers for
	// each. An error means that none of them was surely stored.
	Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error)
	// Read returns what is stored of each key.
	Read(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error)
	// Shards returns the ring over the stores.
	Shards(ctx context.Context) (peer.ShardsReply, error)
	// TokenAdd stores a token of a key.
	TokenAdd(ctx context.Context, args peer.TokenArgs) error
	// TokenCheck asks what the store knows of a key and a token.
	TokenCheck(ctx context.Context, args peer.TokenArgs) (peer.TokenReply, error)
}

// lanes is the way to the stores: pushes of different keys are saved together,
// in one lane for each shard, so that a shard which hangs holds up its own keys
// and no others.
type lanes struct {
	messages Messages

	ring  atomic.Pointer[ketama.HashRing] // over the shards; the nil ring puts all keys into one lane
	known atomic.Bool                     // a message daemon has answered for it, if only that it cannot

	mu     sync.Mutex
	lanes  map[string]*lane // by shard, guarded by mu
	closed bool             // guarded by mu
}

type lane struct {
	saves *batch.Lane[*run, []peer.SaveResult]
	reads *batch.Lane[peer.ReadItem, peer.ReadResult]
}

// Bounds of a lane. The waiting line is as long as a storm of reconnects may
// make it; the batches keep the store's load even.
const (
	laneSaves     = 2       // batches of saves under way for one shard
	laneReads     = 2       // batches of reads
	laneItems     = 128     // keys of a batch
	laneBytes     = 1 << 20 // of messages in a batch
	laneQueue     = 1 << 16
	laneReadItems = 32
	shardsRefresh = 30 * time.Second
)

func newLanes(m Messages) *lanes { return &lanes{messages: m, lanes: make(map[string]*lane)} }

// save implements store.
func (l *lanes) save(r *run, done func([]peer.SaveResult, error)) {
	ln := l.of(r.key)
	if ln == nil {
		done(nil, batch.ErrClosed)
		return
	}
	ln.saves.Submit(r.ctx, r, done)
}

// errShardsUnknown means that it is not known yet which shard a key lies on.
var errShardsUnknown = errors.New("comet: no message daemon has told its shards yet")

// read implements store. Until the shards are known it fails: those who come as
// soon as a comet is back would all wait in one lane, which none of the shards'
// bounds hold for.
func (l *lanes) read(ctx context.Context, item peer.ReadItem, done func(peer.ReadResult, error)) {
	if !l.known.Load() {
		done(peer.ReadResult{}, errShardsUnknown)
		return
	}
	ln := l.of(item.Key)
	if ln == nil {
		done(peer.ReadResult{}, batch.ErrClosed)
		return
	}
	ln.reads.Submit(ctx, item, func(r peer.ReadResult, err error) {
		if err == nil {
			err = r.Code.Err()
		}
		done(r, err)
	})
}

// of returns the lane of key's shard, or nil after close.
func (l *lanes) of(key string) *lane {
	shard, _ := l.ring.Load().Node(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	ln := l.lanes[shard]
	if ln == nil {
		ln = &lane{
			saves: batch.New(batch.Options[*run]{
				InFlight: laneSaves, Items: laneItems, Queue: laneQueue, Weight: (*run).bytes, MaxWeight: laneBytes,
			}, l.runSaves),
			reads: batch.New(batch.Options[peer.ReadItem]{
				InFlight: laneReads, Items: laneReadItems, Queue: laneQueue,
			}, l.runReads),
		}
		l.lanes[shard] = ln
	}
	return ln
}

// runSaves carries out one batch of saves.
func (l *lanes) runSaves(ctx context.Context, runs []*run) ([][]peer.SaveResult, error) {
	reply, err := l.messages.Save(ctx, saveArgs(runs))
	if err != nil {
		return nil, err
	}
	results := make([][]peer.SaveResult, len(runs))
	rest := reply.Results
	for i, r := range runs {
		if len(rest) < len(r.pushes) {
			return nil, fmt.Errorf("comet: %d results for a batch that has more", len(reply.Results))
		}
		results[i], rest = rest[:len(r.pushes)], rest[len(r.pushes):]
	}
	return results, nil
}

// runReads carries out one batch of reads. Its time begins now: in a storm of
// reconnects a read that had to wait would have little left, and be cut off while
// the store is at work on it.
func (l *lanes) runReads(ctx context.Context, items []peer.ReadItem) ([]peer.ReadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	reply, err := l.messages.Read(ctx, peer.ReadArgs{Items: items})
	return reply.Results, err
}

// follow keeps the ring over the shards until ctx ends.
func (l *lanes) follow(ctx context.Context) {
	var last map[string]int
	retry := backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second} // at start nobody is known to ask
	for {
		ask, cancel := context.WithTimeout(ctx, readTimeout)
		reply, err := l.messages.Shards(ask)
		cancel()
		wait := retry.Next()
		if err == nil || errors.Is(err, peer.ErrNoMethod) {
			retry.Reset()
			wait = shardsRefresh
		}
		if err == nil {
			if last == nil || !maps.Equal(last, reply.Nodes) {
				last = reply.Nodes
				l.ring.Store(ketama.New(reply.Nodes, reply.Base))
				glog.Infof("comet: shards of the store changed shards=%v", reply.Nodes)
			}
		}
		if err == nil || errors.Is(err, peer.ErrNoMethod) {
			l.known.Store(true)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// close lets what is under way come to its end and takes no more.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	all := l.lanes
	l.lanes = nil
	l.mu.Unlock()
	for _, ln := range all {
		ln.saves.Close()
		ln.reads.Close()
	}
}
