package comet

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

func TestLiveMessagesWaitForTheClientsOwnFetch(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		_, sock := r.join("k", nil)
		time.Sleep(100 * time.Millisecond)
		r.mustPush("k", "1", true)
		r.mustPush("k", "2", false)
		wantBodies(t, sock)
		time.Sleep(950 * time.Millisecond)
		synctest.Wait()
		wantBodies(t, sock, "1", "2")
		r.mustPush("k", "3", true)
		wantBodies(t, sock, "1", "2", "3")
	})
}

func TestTooManySessionsOfAKey(t *testing.T) {
	bubble(t, func(c *Config) { c.Channel.MaxSubscriber = 2 }, func(t *testing.T, r *rig) {
		a, _ := r.live("k")
		r.live("k")
		_, err := r.subscribe(newFakeSocket(), wire.Sub{Key: "k", Heartbeat: 30 * time.Second}, overTCP)
		if !errors.Is(err, ErrFull) {
			t.Fatalf("third session: %v, want ErrFull", err)
		}
		a.end(endClient)
		synctest.Wait()
		r.live("k")
	})
}

// turningRing gives the key away after it was asked once.
type turningRing struct {
	*fakeRing
	asked atomic.Bool
}

func (r *turningRing) Owns(string) error {
	if r.asked.Swap(true) {
		return peer.ErrNotMine
	}
	return nil
}

func TestRingThatChangesDuringAJoinLeavesNobodyBehind(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.Server.deps.Ring = &turningRing{fakeRing: r.ring}
		sock := newFakeSocket()
		_, err := r.subscribe(sock, wire.Sub{Key: "k", Heartbeat: 30 * time.Second}, overTCP)
		if !errors.Is(err, ErrNotOwner) || sock.written.Len() != 0 {
			t.Errorf("err %v, written %q; want ErrNotOwner and nothing", err, sock.written.String())
		}
		synctest.Wait()
		if n := r.env.table.len(); n != 0 {
			t.Errorf("%d channels stay behind", n)
		}
	})
}
