package registry

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-zookeeper/zk"
)

// ErrLocked means that somebody else holds the lock.
var ErrLocked = errors.New("registry: locked")

// Lock is an ephemeral znode: at most one daemon holds it, and whoever dies
// gives it back with its session. It keeps two from doing the same work at a
// time; what they do must be safe even so, for a session may be over before its
// owner learns of it.
type Lock struct {
	base    *base
	at      string
	session int64 // under which it was taken
}

// TryLock takes the lock at, or fails at once with ErrLocked. Others read in it
// who holds it.
func (b *base) TryLock(ctx context.Context, at, who string) (*Lock, error) {
	fail := func(err error) (*Lock, error) { return nil, fmt.Errorf("registry: lock %s: %w", at, err) }
	b.mu.Lock()
	if l := b.locks[at]; l != nil && l.session == b.session() {
		b.mu.Unlock()
		return fail(ErrLocked)
	}
	l := &Lock{base: b, at: at, session: b.session()}
	b.locks[at] = l // whoever else of this process comes now, comes too late
	b.mu.Unlock()
	if err := l.take(ctx, who); err != nil {
		l.drop()
		return fail(err)
	}
	return l, nil
}

func (l *Lock) take(ctx context.Context, who string) error {
	if l.session == 0 {
		return errAway
	}
	err := l.base.claim(ctx, l.at, []byte(who))
	if errors.Is(err, zk.ErrNoNode) {
		if err := l.base.ensure(ctx, path.Dir(l.at)); err != nil {
			return err
		}
		err = l.base.claim(ctx, l.at, []byte(who))
	}
	if !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	// It may be our own: one whose answer was lost, or that could not be given
	// back. Nobody else will ever do so.
	data, st, err := l.base.get(ctx, l.at)
	switch {
	case errors.Is(err, zk.ErrNoNode): // given back in this moment: the next try takes it
		return ErrLocked
	case err != nil:
		return err
	case st.owner != l.session:
		return fmt.Errorf("%w: holder=%q", ErrLocked, data)
	}
	return nil
}

// Held reports whether the lock is still this one's: the session under which it
// was taken lives, as far as is known here.
func (l *Lock) Held() bool {
	l.base.mu.Lock()
	defer l.base.mu.Unlock()
	return l.base.locks[l.at] == l && l.base.session() == l.session
}

// Unlock gives the lock back. After an error it may still be held, as long as
// the session lives; call Unlock again. To give back what is no longer one's
// own is no error.
func (l *Lock) Unlock(ctx context.Context) error {
	for l.mine() {
		_, st, err := l.base.get(ctx, l.at)
		if err == nil && st.owner == l.session {
			err = l.base.remove(ctx, l.at, st.version)
		}
		switch {
		case errors.Is(err, zk.ErrBadVersion): // somebody wrote into it: look again
		case err == nil, errors.Is(err, zk.ErrNoNode):
			l.drop()
		default:
			return fmt.Errorf("registry: unlock %s: %w", l.at, err)
		}
	}
	return nil
}

// mine reports whether l was neither given back nor taken anew.
func (l *Lock) mine() bool {
	l.base.mu.Lock()
	defer l.base.mu.Unlock()
	return l.base.locks[l.at] == l
}

func (l *Lock) drop() {
	l.base.mu.Lock()
	defer l.base.mu.Unlock()
	if l.base.locks[l.at] == l {
		delete(l.base.locks, l.at)
	}
}
