package comet

import (
	"hash/maphash"
	"sync"
)

// table maps keys to channels. It is split into shards so that keys do not
// contend; each shard's lock is held for a map access, never longer.
type table struct {
	seed   maphash.Seed
	shards []tableShard
}

type tableShard struct {
	mu       sync.Mutex
	channels map[string]*channel
	// high is the largest mid that a channel which is gone gave to anyone: its
	// successor must not give a smaller one.
	high int64
}

func newTable(shards int) *table {
	t := &table{seed: maphash.MakeSeed(), shards: make([]tableShard, shards)}
	for i := range t.shards {
		t.shards[i].channels = make(map[string]*channel)
	}
	return t
}

func (t *table) shard(key string) *tableShard {
	return &t.shards[maphash.String(t.seed, key)%uint64(len(t.shards))]
}

// acquire returns the channel of key, made by create if there is none, and holds
// it. Each hold is released once; a channel that nobody holds is gone.
func (t *table) acquire(key string, create func(high int64) *channel) *channel {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.channels[key]
	if c == nil {
		c = create(sh.high)
		c.home = sh
		sh.channels[key] = c
	}
	c.holders++
	return c
}

// find returns the channel of key and holds it, or nil if there is none.
func (t *table) find(key string) *channel {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.channels[key]
	if c != nil {
		c.holders++
	}
	return c
}

// hold adds a holder on behalf of one who is holding c already.
func (c *channel) hold() {
	c.home.mu.Lock()
	c.holders++
	c.home.mu.Unlock()
}

// release lets n holds of c go. The last one removes it from the table.
func (c *channel) release(n int) {
	sh := c.home
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.holders -= n; c.holders == 0 {
		sh.high = max(sh.high, c.given)
		delete(sh.channels, c.key)
	}
}

// high returns the largest mid that a channel which is gone gave, among those
// that shared key's shard.
func (t *table) high(key string) int64 {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.high
}

// highest returns the largest such mid of all shards.
func (t *table) highest() int64 {
	high := int64(0)
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		high = max(high, sh.high)
		sh.mu.Unlock()
	}
	return high
}

// raise makes every channel to come give mids above high.
func (t *table) raise(high int64) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		sh.high = max(sh.high, high)
		sh.mu.Unlock()
	}
}

// len returns how many channels there are.
func (t *table) len() int {
	n := 0
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += len(sh.channels)
		sh.mu.Unlock()
	}
	return n
}

// each calls f for every channel that is there when its shard is visited. f
// runs without a lock and holds the channel meanwhile. It stops when f returns
// false.
func (t *table) each(f func(*channel) bool) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		held := make([]*channel, 0, len(sh.channels))
		for _, c := range sh.channels {
			c.holders++
			held = append(held, c)
		}
		sh.mu.Unlock()
		goOn := true
		for _, c := range held {
			goOn = goOn && f(c)
			c.release(1)
		}
		if !goOn {
			return
		}
	}
}
