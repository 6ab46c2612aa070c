package directory

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/testenv"
)

// first draws the lowest number: the first of those in question.
func first(int) int { return 0 }

// withMessages returns a directory that knows the message daemons at addrs, and
// draws the first of those that are in question.
func withMessages(t *testing.T, o Options, addrs ...string) *Directory {
	t.Helper()
	reg := newFakeRegistry()
	o.Registry = reg
	d := New(o)
	d.random = first
	run(t, d)
	changed := d.Changed()
	reg.states <- messages(addrs...)
	<-changed
	return d
}

func saveArgs() peer.SaveArgs {
	return peer.SaveArgs{
		Bodies: []json.RawMessage{json.RawMessage(`{}`)},
		Items:  []peer.SaveItem{{Key: "k1", ExpireAt: 1, Nonce: "n1"}, {Key: "k2", ExpireAt: 1, Nonce: "n2"}},
	}
}

func TestSaveGoesElsewhereWhenNotSent(t *testing.T) {
	closed := testenv.FreeAddr(t)
	m := newMessage(t)
	d := withMessages(t, Options{Ping: time.Hour}, closed, m.addr)
	if _, err := d.Save(t.Context(), saveArgs()); err != nil {
		t.Fatalf("Save = %v", err)
	}
	saved := m.saved()
	if len(saved) != 1 {
		t.Fatalf("%d saves, want 1", len(saved))
	}
	for _, it := range saved[0].Items {
		if it.Retry {
			t.Errorf("item %s is marked as a retry, but nothing was sent before", it.Key)
		}
	}
}

func TestSaveIsRetriedOnceWhenLost(t *testing.T) {
	type hang = func(peer.SaveArgs) error
	for _, c := range []struct {
		name  string
		setup func(a, b *fakeMessage, hang hang) []string
		want  error
		saves [2]int
	}{
		{"the other stores it", func(a, b *fakeMessage, hang hang) []string {
			a.save = hang
			return []string{a.addr, b.addr}
		}, nil, [2]int{1, 1}},
		{"both hang", func(a, b *fakeMessage, hang hang) []string {
			a.save, b.save = hang, hang
			return []string{a.addr, b.addr}
		}, rpcnet.ErrLost, [2]int{1, 1}},
		{"there is no other: the same one again", func(a, b *fakeMessage, hang hang) []string {
			var calls atomic.Int32
			a.save = func(args peer.SaveArgs) error {
				if calls.Add(1) == 1 {
					return hang(args)
				}
				return nil
			}
			return []string{a.addr}
		}, nil, [2]int{2, 0}},
		{"the other refuses: the outcome stays unknown", func(a, b *fakeMessage, hang hang) []string {
			a.save = hang
			b.save = func(peer.SaveArgs) error { return peer.ErrInvalid }
			return []string{a.addr, b.addr}
		}, rpcnet.ErrLost, [2]int{1, 1}},
		{"the other is not there: the outcome stays unknown", func(a, b *fakeMessage, hang hang) []string {
			a.save = hang
			return []string{a.addr, testenv.FreeAddr(t)}
		}, rpcnet.ErrLost, [2]int{1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newMessage(t), newMessage(t)
			hangs := make(chan struct{})
			t.Cleanup(func() { close(hangs) })
			hang := func(peer.SaveArgs) error { <-hangs; return nil }
			d := withMessages(t, Options{Ping: time.Hour, Timeout: time.Second}, c.setup(a, b, hang)...)
			args := saveArgs()
			if _, err := d.Save(t.Context(), args); !errors.Is(err, c.want) {
				t.Errorf("Save = %v, want %v", err, c.want)
			}
			saved := append(a.saved(), b.saved()...)
			if got := [2]int{len(a.saved()), len(b.saved())}; got != c.saves {
				t.Fatalf("saves at each = %v, want %v", got, c.saves)
			}
			for i, s := range saved {
				for _, it := range s.Items {
					if it.Retry != (i > 0) {
						t.Errorf("try %d, item %s: Retry = %v, want %v", i, it.Key, it.Retry, i > 0)
					}
				}
			}
			if args.Items[0].Retry {
				t.Error("the caller's own arguments were changed")
			}
		})
	}
}

func TestRefusalIsNotRetried(t *testing.T) {
	a, b := newMessage(t), newMessage(t)
	a.save = func(peer.SaveArgs) error { return peer.ErrInvalid }
	d := withMessages(t, Options{Ping: time.Hour}, a.addr, b.addr)
	if _, err := d.Save(t.Context(), saveArgs()); !errors.Is(err, peer.ErrInvalid) {
		t.Errorf("Save = %v, want ErrInvalid", err)
	}
	if n := len(b.saved()); n != 0 {
		t.Errorf("the other one was asked too: %d saves", n)
	}
	if d.choice.Load().members[0].link.state.Load() == dead {
		t.Error("a daemon that refuses is taken for dead")
	}
}

func TestAnOldDaemonBesideANewOne(t *testing.T) {
	old, _ := serve(t, "MessageRPC", &OldMessageRPC{})
	m := newMessage(t)
	d := withMessages(t, Options{Ping: time.Hour}, old, m.addr)
	if shards, err := d.Shards(t.Context()); err != nil || shards.Nodes["shard1"] != 1 {
		t.Errorf("Shards = %v, %v; want those of the new one", shards, err)
	}
	if err := d.TokenAdd(t.Context(), peer.TokenArgs{Key: "k"}); err != nil {
		t.Errorf("TokenAdd = %v", err)
	}
	only := withMessages(t, Options{Ping: time.Hour}, old)
	if _, err := only.Shards(t.Context()); !errors.Is(err, peer.ErrNoMethod) {
		t.Errorf("Shards of an old one = %v, want ErrNoMethod", err)
	}
}

func TestAllCalls(t *testing.T) {
	m := newMessage(t)
	d := withMessages(t, Options{}, m.addr)
	ctx := t.Context()
	_, read := d.Read(ctx, peer.ReadArgs{Items: []peer.ReadItem{{Key: "k"}}})
	found, check := d.TokenCheck(ctx, peer.TokenArgs{Key: "k"})
	keys, pending := d.Pending(ctx, 10)
	if err := errors.Join(read, check, pending, d.Settle(ctx, keys), d.TokenAdd(ctx, peer.TokenArgs{Key: "k"}), d.Delete(ctx, "k")); err != nil {
		t.Error(err)
	}
	if len(keys) != 1 {
		t.Errorf("Pending = %v, want one key", keys)
	}
	if want := (peer.TokenReply{State: peer.TokenLive, Expires: 1}); found != want {
		t.Errorf("TokenCheck = %+v, want %+v", found, want)
	}
}

func TestNoMessage(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry()})
	_, err := d.Save(t.Context(), saveArgs())
	if !errors.Is(err, ErrNoMessage) || !errors.Is(err, rpcnet.ErrNotSent) {
		t.Errorf("Save without daemons = %v, want ErrNoMessage, which is an ErrNotSent", err)
	}
	d = withMessages(t, Options{Ping: time.Hour}, testenv.FreeAddr(t), testenv.FreeAddr(t))
	if _, err := d.Save(t.Context(), saveArgs()); !errors.Is(err, rpcnet.ErrNotSent) {
		t.Errorf("Save when nobody is there = %v, want ErrNotSent", err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	m := newMessage(t)
	d := withMessages(t, Options{Ping: time.Hour}, m.addr)
	ctx, cancel := context.WithCancel(t.Context())
	hangs := make(chan struct{})
	defer close(hangs)
	m.mu.Lock()
	m.save = func(peer.SaveArgs) error { cancel(); <-hangs; return nil }
	m.mu.Unlock()
	if _, err := d.Save(ctx, saveArgs()); !errors.Is(err, rpcnet.ErrLost) {
		t.Errorf("Save = %v, want ErrLost", err)
	}
	if n := len(m.saved()); n != 1 {
		t.Errorf("%d saves, want 1", n)
	}
}

// A daemon that hangs keeps its connections and answers nothing.
func TestHangingDaemonIsLeftOut(t *testing.T) {
	a, b := newMessage(t), newMessage(t)
	proxy := testenv.Proxy(t, a.addr)
	d := withMessages(t, Options{Ping: 20 * time.Millisecond, Timeout: 300 * time.Millisecond}, proxy.Addr(), b.addr)
	inChoice := func(want ...string) func() bool {
		return func() bool {
			members := d.choice.Load().members
			if len(members) != len(want) {
				return false
			}
			for i, m := range members {
				if m.link.addr != want[i] || m.link.state.Load() != alive {
					return false
				}
			}
			return d.Ready() == nil
		}
	}
	until(t, "both answer", inChoice(proxy.Addr(), b.addr))
	proxy.Hold(true, true)
	until(t, "the one that hangs is left out", inChoice(b.addr))
	for range 20 {
		if _, err := d.Save(t.Context(), saveArgs()); err != nil {
			t.Fatalf("Save while the other one hangs = %v", err)
		}
	}
	if n := len(a.saved()); n != 0 {
		t.Errorf("%d saves went to the one that hangs", n)
	}
	proxy.Hold(false, false)
	until(t, "it is back", inChoice(proxy.Addr(), b.addr))
}

// A daemon that was not there for a call is left out at once, not at its next
// ping.
func TestDoubt(t *testing.T) {
	a, b := newMessage(t), newMessage(t)
	d := withMessages(t, Options{Ping: time.Hour}, a.addr, b.addr)
	members := d.View().messages
	until(t, "both answer", func() bool {
		return members[0].link.state.Load() == alive && members[1].link.state.Load() == alive
	})
	a.stop()
	if _, err := d.Save(t.Context(), saveArgs()); err != nil {
		t.Fatalf("Save = %v", err)
	}
	if left := d.choice.Load().members; len(left) != 1 || left[0].link.addr != b.addr {
		t.Errorf("%d members are in the choice, want only the one that answers", len(left))
	}
}

func TestRetryMarksEachItemOfABatch(t *testing.T) {
	a, b := newMessage(t), newMessage(t)
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	a.save = func(peer.SaveArgs) error { <-hangs; return nil }
	d := withMessages(t, Options{Ping: time.Hour, Timeout: time.Second}, a.addr, b.addr)
	args := saveArgs()
	args.Items[0].Retry = true // its caller gave it an id; its neighbour is a first try
	if _, err := d.Save(t.Context(), args); err != nil {
		t.Fatalf("Save = %v", err)
	}
	for _, it := range b.saved()[0].Items {
		if !it.Retry {
			t.Errorf("item %s of the second try is not marked: it would be stored twice", it.Key)
		}
	}
}
