package comet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wallclock"
)

// tokens answers whether a key may connect. The store decides; what it confirmed
// is remembered for tokenMemory, so that a client which reconnects often does
// not cost a store call each time.
type tokens struct {
	messages Messages

	mu    sync.Mutex
	known map[[sha256.Size]byte]time.Time // hash of key and token → until when; guarded by mu
}

const (
	// tokenMemory is how long a confirmed token is taken without asking again,
	// though never beyond its own end.
	tokenMemory = 60 * time.Second
	// tokensKnown bounds the memory, about 100 bytes each.
	tokensKnown = 100_000
)

func newTokens(m Messages) *tokens {
	return &tokens{messages: m, known: make(map[[sha256.Size]byte]time.Time)}
}

// check returns nil if token is a live token of key, or ErrToken, ErrNoToken or
// ErrStore.
func (t *tokens) check(ctx context.Context, key, token string) error {
	id := tokenID(key, token)
	now := wallclock.Now()
	t.mu.Lock()
	until, ok := t.known[id]
	t.mu.Unlock()
	if ok && now.Before(until) {
		return nil
	}
	found, err := t.messages.TokenCheck(ctx, peer.TokenArgs{Key: key, Token: token})
	switch {
	case err != nil:
		return fmt.Errorf("%w: key=%q: %w", ErrStore, key, err)
	case found.State == peer.TokenLive:
		t.remember(id, now, time.Unix(found.Expires, 0))
		return nil
	case found.State == peer.TokenOther:
		return fmt.Errorf("%w: key=%q", ErrToken, key)
	default:
		return fmt.Errorf("%w: key=%q", ErrNoToken, key)
	}
}

// tokenID hashes a key and a token. The key's length keeps the two apart.
func tokenID(key, token string) [sha256.Size]byte {
	b := make([]byte, 0, len(key)+len(token)+4)
	b = fmt.Appendf(b, "%d:", len(key))
	b = append(b, key...)
	return sha256.Sum256(append(b, token...))
}

// remember keeps a token that ends at expires. One whose end is not told is
// past it, and is asked for each time.
func (t *tokens) remember(id [sha256.Size]byte, now, expires time.Time) {
	until := now.Add(tokenMemory)
	if expires.Before(until) {
		until = expires
	}
	if !until.After(now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= tokensKnown {
		t.forget(now)
	}
	t.known[id] = until
}

// forget drops what is over, and if that is not enough, whatever comes first:
// the store is asked again. t.mu is held.
func (t *tokens) forget(now time.Time) {
	for id, until := range t.known {
		if len(t.known) < tokensKnown/2 {
			return
		}
		if now.After(until) {
			delete(t.known, id)
		}
	}
	for id := range t.known {
		if len(t.known) < tokensKnown/2 {
			return
		}
		delete(t.known, id)
	}
}
