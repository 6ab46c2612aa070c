package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gopush-cluster/internal/ketama"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// shardBase is how many ticks a shard has for each unit of its weight.
const shardBase = 255

// shards are the stores of the cluster. A key lies in one of them by ketama.
type shards struct {
	ring   *ketama.HashRing
	byName map[string]*shard
	all    []*shard // by name
}

func newShards(all []*shard) *shards {
	s := &shards{byName: make(map[string]*shard), all: all}
	slices.SortFunc(all, func(a, b *shard) int { return cmp.Compare(a.name, b.name) })
	for _, h := range all {
		s.byName[h.name] = h
	}
	s.ring = ketama.New(s.weights(), shardBase)
	return s
}

// openShards opens the stores that cfg names. Redis and MySQL are connected to when
// they are first asked.
func openShards(cfg Config, now func() time.Time) (*shards, error) {
	switch cfg.Storage.Type {
	case Embedded:
		s, err := openBolt(cfg.Storage.Path, cfg.keep(), now)
		if err != nil {
			return nil, err
		}
		return newShards([]*shard{newShard(Embedded, 1, s)}), nil
	case MySQL:
		all, err := openSources("mysql.source", cfg.MySQL.Source, func(src MySQLSource) (store, error) {
			return openMySQL(mysqlOptions{
				Source: src, Idle: cfg.MySQL.Idle, Active: cfg.MySQL.Active, IdleTimeout: cfg.MySQL.Timeout.D(),
				Durability: cfg.MySQL.Durability, Newest: cfg.keep(), Now: now,
			})
		})
		for _, h := range all {
			h.rest = cfg.MySQL.Clean.D()
		}
		return newShards(all), err
	}
	all, err := openSources("redis.source", cfg.Redis.Source, func(src Source) (store, error) {
		return openRedis(redisOptions{
			Network: src.Network, Address: src.Address, Password: src.Password,
			Prefix: cfg.Redis.Prefix, Idle: cfg.Redis.Idle, Active: cfg.Redis.Active,
			IdleTimeout: cfg.Redis.Timeout.D(), AllowEviction: cfg.Redis.AllowEviction,
			Durability: cfg.Redis.Durability,
			Newest:     cfg.keep(), Now: now,
		}), nil
	})
	return newShards(all), err
}

// openSources opens a store for each line of the table key. What is open after an
// error is the caller's to close.
func openSources[S any](key string, sources map[string]S, open func(S) (store, error)) ([]*shard, error) {
	var all []*shard
	for name, src := range sources {
		node, weight, ok := splitSource(name)
		if !ok {
			return all, fmt.Errorf("message: %s: %q is not <node>:<weight>", key, name)
		}
		s, err := open(src)
		if err != nil {
			return all, err
		}
		all = append(all, newShard(node, weight, s))
	}
	return all, nil
}

func (s *shards) weights() map[string]int {
	w := make(map[string]int, len(s.all))
	for _, h := range s.all {
		w[h.name] = h.weight
	}
	return w
}

// of returns the shard of key. There is always one: no configuration without
// shards is valid.
func (s *shards) of(key string) *shard {
	name, _ := s.ring.Node(key)
	return s.byName[name]
}

// answered waits until every shard has answered once.
func (s *shards) answered(ctx context.Context) error {
	for _, h := range s.all {
		select {
		case <-h.answered:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// down returns what the shards that are down say, nil if all are up.
func (s *shards) down() error {
	var errs []error
	for _, h := range s.all {
		if err := h.down(); err != nil {
			errs = append(errs, fmt.Errorf("shard %s: %w", h.name, err))
		}
	}
	return errors.Join(errs...)
}

// up reports whether any shard answers.
func (s *shards) up() bool {
	return slices.ContainsFunc(s.all, func(h *shard) bool { return h.serves(reads) == nil })
}

func (s *shards) close() error {
	var errs []error
	for _, h := range s.all {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}

// spread hands each of what to the shard of its key, the shards at the same
// time and what is one shard's in its order, and returns the answers in order.
func spread[T, R any](s *shards, what []T, key func(T) string, fail func(error) R, do func(*shard, []T) []R) []R {
	parts := make(map[*shard][]int)
	for i, w := range what {
		h := s.of(key(w))
		parts[h] = append(parts[h], i)
	}
	if len(parts) == 1 { // as comets send it
		for h := range parts {
			return do(h, what)
		}
	}
	out := make([]R, len(what))
	var wg sync.WaitGroup
	for h, index := range parts {
		part := make([]T, len(index))
		for n, i := range index {
			part[n] = what[i]
		}
		wg.Go(func() {
			for n, r := range guarded(len(part), fail, func() []R { return do(h, part) }) {
				out[index[n]] = r
			}
		})
	}
	wg.Wait()
	return out
}

// guarded lets a panic of do fail its own n answers only.
func guarded[R any](n int, fail func(error) R, do func() []R) (out []R) {
	var err error
	defer func() {
		if err != nil {
			out = failAll(n, err, fail)
		}
	}()
	defer rpcnet.Recover("message: shard", &err)
	return do()
}

func (s *shards) save(ctx context.Context, items []item) []saved {
	return spread(s, items, func(it item) string { return it.key }, savedErr, func(h *shard, items []item) []saved {
		return ask(h, writes, items, savedErr, func(r saved) error { return r.err }, func(items []item) []saved { return h.store.Save(ctx, items) })
	})
}

func (s *shards) put(ctx context.Context, items []item) []error {
	return spread(s, items, func(it item) string { return it.key }, sameErr, func(h *shard, items []item) []error {
		return ask(h, writes, items, sameErr, sameErr, func(items []item) []error { return h.store.Put(ctx, items) })
	})
}

func (s *shards) read(ctx context.Context, queries []query) []found {
	return spread(s, queries, func(q query) string { return q.key }, foundErr, func(h *shard, queries []query) []found {
		return ask(h, reads, queries, foundErr, func(r found) error { return r.err }, func(queries []query) []found { return h.read(ctx, queries) })
	})
}

func (s *shards) delete(ctx context.Context, key string) error {
	h := s.of(key)
	_, err := ask1(h, writes, func() (struct{}, error) { return struct{}{}, h.store.Delete(ctx, key) })
	return err
}

func (s *shards) addToken(ctx context.Context, t token) error {
	h := s.of(t.key)
	_, err := ask1(h, writes, func() (struct{}, error) { return struct{}{}, h.store.AddToken(ctx, t) })
	return err
}

func (s *shards) checkToken(ctx context.Context, key, hash string) (peer.TokenReply, error) {
	h := s.of(key)
	return ask1(h, reads, func() (peer.TokenReply, error) { return h.store.CheckToken(ctx, key, hash) })
}
