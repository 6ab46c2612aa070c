package registry

import (
	"context"
	"errors"
	"testing"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// processes returns two that may contend, and what ends the session of one.
func processes(t *testing.T, c cluster) (one, two *base, expire func(*base)) {
	members := make(map[*base]*Membership)
	for _, b := range []**base{&one, &two} {
		s, _ := c.open(t)
		m := s.JoinMessage(message(1, 1))
		*b, members[m.base] = m.base, m
	}
	return one, two, func(b *base) { c.expire(t, members[b]) }
}

// lockPath returns the path of a lock below folders that nobody has created yet.
func lockPath(b *base) string { return b.paths.Comet + "-locks/of/migrate" }

func testLock(t *testing.T, c cluster) {
	one, two, _ := processes(t, c)
	ctx, at := t.Context(), lockPath(one)
	l, err := one.TryLock(ctx, at, "one")
	if err != nil || !l.Held() {
		t.Fatalf("TryLock = %v, want a lock that is held", err)
	}
	data, st, err := two.get(ctx, at)
	if err != nil || string(data) != "one" || st.owner != one.session() {
		t.Errorf("the lock = %q, %+v, %v; want an ephemeral of one that says so (docs/protocol.md, \"ZooKeeper\")", data, st, err)
	}
	for _, b := range []*base{one, two} { // nor twice in one process
		if _, err := b.TryLock(ctx, at, "another"); !errors.Is(err, ErrLocked) {
			t.Errorf("TryLock of what is held = %v, want ErrLocked", err)
		}
	}
	for range 2 { // giving back again is no error
		if err := l.Unlock(ctx); err != nil || l.Held() {
			t.Fatalf("Unlock = %v, and then held: %v", err, l.Held())
		}
	}
	next, err := two.TryLock(ctx, at, "two")
	if err != nil {
		t.Fatalf("TryLock of what is free = %v", err)
	}
	if err := l.Unlock(ctx); err != nil || !next.Held() {
		t.Errorf("Unlock of what another holds = %v, and the other holds it: %v", err, next.Held())
	}
	if _, _, err := one.get(ctx, at); err != nil {
		t.Errorf("the other's lock: %v, want it in place", err)
	}
}

func testLockExpires(t *testing.T, c cluster) {
	one, two, expire := processes(t, c)
	ctx, at := t.Context(), lockPath(one)
	l, err := one.TryLock(ctx, at, "one")
	if err != nil {
		t.Fatal(err)
	}
	expire(one)
	testenv.Eventually(t, patience, func() error {
		if l.Held() {
			return errors.New("held by a session that is over")
		}
		return nil
	})
	var next *Lock
	testenv.Eventually(t, patience, func() error { // its old lock is in nobody's way
		next, err = one.TryLock(ctx, at, "one again")
		return err
	})
	if err := next.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		next, err = two.TryLock(ctx, at, "two")
		return err
	})
	testenv.Eventually(t, patience, func() error { return l.Unlock(ctx) })
	if _, _, err := two.get(ctx, at); err != nil || !next.Held() {
		t.Errorf("the new holder's lock after the old one gave its own back: %v, held: %v", err, next.Held())
	}
}

// mute is a tree that does what it is told and loses the answer.
type mute struct {
	tree
	claims  error // what claim answers after it was done
	removes error // what remove answers instead
}

func (m *mute) claim(ctx context.Context, at string, data []byte) error {
	return errors.Join(m.tree.claim(ctx, at, data), m.claims)
}

func (m *mute) remove(ctx context.Context, at string, version int32) error {
	if m.removes != nil {
		return m.removes
	}
	return m.tree.remove(ctx, at, version)
}

// A lock whose answer was lost is nobody's but ours, and nobody else can ever
// give it back.
func TestLockWhoseAnswerWasLost(t *testing.T) {
	m, ctx := NewMemory(), t.Context()
	tree := &mute{tree: m.nodes.open(), claims: zk.ErrConnectionClosed}
	b := newBase(tree, m.paths)
	if _, err := b.TryLock(ctx, "/lock", "one"); !errors.Is(err, zk.ErrConnectionClosed) {
		t.Fatalf("TryLock = %v, want %v", err, zk.ErrConnectionClosed)
	}
	if _, err := m.TryLock(ctx, "/lock", "two"); !errors.Is(err, ErrLocked) {
		t.Fatalf("TryLock of another = %v, want ErrLocked", err)
	}
	tree.claims = nil
	l, err := b.TryLock(ctx, "/lock", "one")
	if err != nil {
		t.Fatalf("TryLock again = %v, want the lock that is there", err)
	}
	if err := l.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.TryLock(ctx, "/lock", "two"); err != nil {
		t.Errorf("TryLock of another = %v, want it free", err)
	}
}

func TestUnlockFails(t *testing.T) {
	m, ctx := NewMemory(), t.Context()
	tree := &mute{tree: m.nodes.open(), removes: errAway}
	b := newBase(tree, m.paths)
	l, err := b.TryLock(ctx, "/lock", "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(ctx); !errors.Is(err, errAway) || !l.Held() {
		t.Errorf("Unlock = %v, held: %v; want %v, and still held", err, l.Held(), errAway)
	}
	tree.removes = nil
	if err := l.Unlock(ctx); err != nil || l.Held() {
		t.Errorf("Unlock again = %v, held: %v", err, l.Held())
	}
}

func TestLockWhileZooKeeperIsAway(t *testing.T) {
	m := NewMemory()
	b := newBase(away{m.tree}, m.paths)
	for range 2 {
		if _, err := b.TryLock(t.Context(), "/lock", "one"); !errors.Is(err, errAway) {
			t.Errorf("TryLock = %v, want %v", err, errAway)
		}
	}
}
