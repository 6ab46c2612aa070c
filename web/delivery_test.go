package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// pushFunc is what a comet does with one push.
type pushFunc = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error)

// answers answers every key with code.
func answers(code peer.Code) pushFunc {
	return func(_ context.Context, _ string, p peer.Push) ([]peer.PushResult, error) {
		results := make([]peer.PushResult, len(p.Keys))
		for i := range results {
			results[i].Code = code
		}
		return results, nil
	}
}

// fails fails the call after d, or when the caller gives up.
func fails(d time.Duration, err error) pushFunc {
	return func(ctx context.Context, _ string, _ peer.Push) ([]peer.PushResult, error) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", rpcnet.ErrLost, ctx.Err())
		case <-time.After(d):
			return nil, err
		}
	}
}

// hangs never answers.
var hangs = fails(time.Hour, errors.New("fake: unreachable code"))

// slow answers OK after d.
func slow(d time.Duration) pushFunc {
	return func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		if _, err := fails(d, nil)(ctx, node, p); err != nil {
			return nil, err
		}
		return answers(peer.OK)(ctx, node, p)
	}
}

// script plays one step a call, the last for ever.
func script(steps ...pushFunc) pushFunc {
	n := 0
	return func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		step := steps[min(n, len(steps)-1)]
		n++
		return step(ctx, node, p)
	}
}

func TestDelivery(t *testing.T) {
	const ms = time.Millisecond
	notSent := fails(0, fmt.Errorf("fake: %w", rpcnet.ErrNotSent))
	lost := fails(0, fmt.Errorf("fake: %w", rpcnet.ErrLost))
	notMine := answers(peer.NotMine)
	for _, tt := range []struct {
		name  string
		live  bool // expire 0
		named bool // the caller gave an id
		push  pushFunc
		save  func(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error)

		code  peer.Code
		tries []bool // Retry of each call to a comet
		saved bool
		retry bool // Retry of the save
		took  time.Duration
	}{
		{name: "done", push: answers(peer.OK), code: peer.OK, tries: []bool{false}},
		{name: "done, live", live: true, push: answers(peer.OK), code: peer.OK, tries: []bool{false}},
		{name: "named by the caller", named: true, push: answers(peer.OK), code: peer.OK, tries: []bool{false}},
		{name: "conflict is not repeated", named: true, push: answers(peer.Conflict), code: peer.Conflict, tries: []bool{false}},
		{name: "failed is not repeated", push: answers(peer.Failed), code: peer.Failed, tries: []bool{false}},
		{name: "invalid", push: answers(peer.Invalid), code: peer.Invalid, tries: []bool{false}},
		{name: "call failed", push: fails(0, peer.ErrFailed), code: peer.Failed, tries: []bool{false}},
		{name: "call invalid", push: fails(0, peer.ErrInvalid), code: peer.Invalid, tries: []bool{false}},
		{name: "slow", push: slow(800 * ms), code: peer.OK, tries: []bool{false}, took: 800 * ms},

		{name: "not sent: saved at once", push: notSent, code: peer.OK, tries: []bool{false}, saved: true},
		{name: "not sent, named", named: true, push: notSent, code: peer.OK, tries: []bool{false}, saved: true},
		{name: "not sent, live: tried again, then failed", live: true, push: notSent, code: peer.Failed,
			tries: []bool{false, false, false}, took: 200 * ms},
		{name: "not sent, live: back in time", live: true, push: script(notSent, answers(peer.OK)), code: peer.OK,
			tries: []bool{false, false}, took: 100 * ms},

		{name: "not mine, once", push: script(notMine, answers(peer.OK)), code: peer.OK, tries: []bool{false, false}, took: 100 * ms},
		{name: "not mine as an error", push: script(fails(0, peer.ErrNotMine), answers(peer.OK)), code: peer.OK, tries: []bool{false, false}, took: 100 * ms},
		{name: "not mine, three times: saved", push: notMine, code: peer.OK, tries: []bool{false, false, false}, saved: true, took: 200 * ms},
		{name: "not mine, live, three times", live: true, push: notMine, code: peer.Failed, tries: []bool{false, false, false}, took: 200 * ms},

		{name: "lost: repeated at once", push: script(lost, answers(peer.OK)), code: peer.OK, tries: []bool{false, true}},
		{name: "lost, live: not repeated", live: true, push: script(lost, answers(peer.OK)), code: peer.Failed, tries: []bool{false}},
		{name: "lost twice", push: lost, code: peer.Failed, tries: []bool{false, true}},
		{name: "lost, then out of reach: saved as a repeat", push: script(lost, notSent), code: peer.OK,
			tries: []bool{false, true}, saved: true, retry: true},
		{name: "lost, then not mine", push: script(lost, notMine), code: peer.OK,
			tries: []bool{false, true, true, true}, saved: true, retry: true, took: 200 * ms},
		{name: "silent for half the time, then answered", push: script(hangs, answers(peer.OK)), code: peer.OK,
			tries: []bool{false, true}, took: 975 * ms},
		{name: "silent for ever", push: hangs, code: peer.Failed, tries: []bool{false, true}, took: 1950 * ms},
		{name: "silent, live", live: true, push: hangs, code: peer.Failed, tries: []bool{false}, took: 1950 * ms},
		{name: "slow, live, has all the time", live: true, push: slow(1700 * ms), code: peer.OK, tries: []bool{false}, took: 1700 * ms},
		{name: "dial into a void: saved in the other half", push: func(ctx context.Context, _ string, _ peer.Push) ([]peer.PushResult, error) {
			<-ctx.Done()
			return nil, rpcnet.ErrNotSent
		}, code: peer.OK, tries: []bool{false}, saved: true, took: 975 * ms},

		{name: "save fails", push: notSent, save: func(context.Context, peer.SaveArgs) (peer.SaveReply, error) {
			return peer.SaveReply{}, rpcnet.ErrLost
		}, code: peer.Failed, tries: []bool{false}, saved: true},
		{name: "save refused", push: notSent, save: func(context.Context, peer.SaveArgs) (peer.SaveReply, error) {
			return peer.SaveReply{Results: []peer.SaveResult{{Code: peer.Invalid}}}, nil
		}, code: peer.Invalid, tries: []bool{false}, saved: true},
		{name: "save hangs", push: notSent, save: func(ctx context.Context, _ peer.SaveArgs) (peer.SaveReply, error) {
			<-ctx.Done()
			return peer.SaveReply{}, ctx.Err()
		}, code: peer.Failed, tries: []bool{false}, saved: true, took: 1950 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig())
			f.close()
			synctest.Test(t, func(t *testing.T) {
				f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
					if end, ok := ctx.Deadline(); !ok || time.Until(end) > pushTime-answerTime {
						t.Errorf("the comet was given until %v", end)
					}
					return tt.push(ctx, node, p)
				}
				f.messages.save = tt.save
				m := message{body: json.RawMessage("1"), expireAt: 2_000_000_000, nonce: "n", named: tt.named}
				if tt.live {
					m.expireAt = 0
				}
				one := newTarget("k")
				began := time.Now()
				f.deliver(t.Context(), m, []*target{one})

				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if one.code != tt.code {
					t.Errorf("code = %d, want %d", one.code, tt.code)
				}
				var tries []bool
				for _, p := range f.comet().pushes {
					tries = append(tries, p.Retry)
					if want := (peer.Push{Keys: []string{"k"}, Msg: m.body, ExpireAt: m.expireAt, Nonce: "n", Retry: p.Retry, Named: tt.named}); !cmp.Equal(p, want) {
						t.Errorf("pushed %+v, want %+v", p, want)
					}
				}
				if !cmp.Equal(tries, tt.tries) {
					t.Errorf("Retry of the calls = %v, want %v", tries, tt.tries)
				}
				var saves []peer.SaveArgs
				if tt.saved {
					saves = []peer.SaveArgs{{Bodies: []json.RawMessage{m.body}, Items: []peer.SaveItem{{
						Key: "k", ExpireAt: m.expireAt, Nonce: "n",
						Floor: mid.Unknown, Known: mid.Unknown, Retry: tt.retry, Named: tt.named, Pending: true,
					}}}}
				}
				if diff := cmp.Diff(saves, f.messages.saves); diff != "" {
					t.Errorf("saves (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestDeliveryFollowsTheRing: the ring turns while the old owner says that the
// key is not its own, and the next try goes to the new one.
func TestDeliveryFollowsTheRing(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	synctest.Test(t, func(t *testing.T) {
		f.cluster.nodes["node2"] = registry.Node{Name: "node2"}
		owner := "node1"
		f.cluster.place = func(string) string { return owner }
		var asked []string
		f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
			asked = append(asked, node)
			if node == "node1" {
				owner = "node2"
				return answers(peer.NotMine)(ctx, node, p)
			}
			return answers(peer.OK)(ctx, node, p)
		}
		one := newTarget("k")
		f.deliver(t.Context(), message{expireAt: 1}, []*target{one})
		if one.code != peer.OK || !cmp.Equal(asked, []string{"node1", "node2"}) {
			t.Errorf("code = %d, asked %v; want OK from node1, then node2", one.code, asked)
		}
	})
}

// TestDeliverySlowShard: a comet that waits for one hung store until its budget
// ends can still say which keys are stored, and is heard.
func TestDeliverySlowShard(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	synctest.Test(t, func(t *testing.T) {
		f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
			f.comet().mu.Lock()
			budget := f.comet().budgets[len(f.comet().budgets)-1]
			f.comet().mu.Unlock()
			if _, err := slow(time.Duration(budget)*time.Millisecond)(ctx, node, p); err != nil {
				return nil, err
			}
			return []peer.PushResult{{Code: peer.OK}, {Code: peer.Failed}}, nil
		}
		began := time.Now()
		failed, _ := f.deliverMany(t.Context(), message{expireAt: 1, nonce: "n"}, []string{"fine", "hung"})
		if !cmp.Equal(failed, []string{"hung"}) {
			t.Errorf("failed = %v, want hung alone", failed)
		}
		if took := time.Since(began); took > pushTime {
			t.Errorf("took %v, want at most %v", took, pushTime)
		}
		if want := []int64{1755, 877}; !cmp.Equal(f.comet().budgets, want) {
			t.Errorf("budgets = %v ms, want %v", f.comet().budgets, want)
		}
	})
}

// TestDeliveryMany: each comet gets its own keys in calls of bounded size, one
// that hangs and one that cannot be reached do the others no harm, and exactly
// the keys that were not acknowledged come back, in order.
func TestDeliveryMany(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	for _, name := range []string{"ok", "hung", "gone"} {
		f.cluster.nodes[name] = registry.Node{Name: name}
	}
	f.cluster.place = func(key string) string { n, _, _ := strings.Cut(key, "-"); return n }
	var keys, hung []string
	for i := range 2500 {
		for _, node := range []string{"ok", "hung", "gone"} {
			keys = append(keys, fmt.Sprintf("%s-%d", node, i))
		}
		hung = append(hung, fmt.Sprintf("hung-%d", i))
	}
	synctest.Test(t, func(t *testing.T) {
		f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
			switch node {
			case "hung":
				return hangs(ctx, node, p)
			case "gone":
				return nil, rpcnet.ErrNotSent
			}
			return answers(peer.OK)(ctx, node, p)
		}
		began := time.Now()
		failed, _ := f.deliverMany(t.Context(), message{expireAt: 1, nonce: "n"}, keys)
		if diff := cmp.Diff(hung, failed); diff != "" {
			t.Errorf("failed keys (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != pushTime-answerTime {
			t.Errorf("took %v, want %v", took, pushTime-answerTime)
		}
		seen := make(map[string]int)
		for _, p := range f.comet().pushes {
			if len(p.Keys) > chunk {
				t.Errorf("a call with %d keys", len(p.Keys))
			}
			node := f.cluster.place(p.Keys[0])
			for _, k := range p.Keys {
				seen[k]++
				if f.cluster.place(k) != node {
					t.Errorf("%s was sent to %s", k, node)
				}
			}
		}
		saved := 0
		for _, s := range f.messages.saves {
			saved += len(s.Items)
		}
		if saved != 2500 || seen["ok-7"] != 1 || seen["hung-7"] != 2 || seen["gone-7"] != 1 {
			t.Errorf("saved %d keys directly, pushes %d %d %d; want 2500, 1 2 1", saved, seen["ok-7"], seen["hung-7"], seen["gone-7"])
		}
	})
}

// TestDeliveryTime: 100,000 keys on one comet that needs 50 ms a call have time
// enough, and a comet that hangs holds them for a bounded time.
func TestDeliveryTime(t *testing.T) {
	keys := make([]string, maxKeys)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	for _, tt := range []struct {
		name   string
		push   pushFunc
		failed int
		took   time.Duration
	}{
		{"busy", slow(50 * time.Millisecond), 0, 25 * 50 * time.Millisecond},
		{"hung", hangs, maxKeys, pushTime - answerTime + 99_000*keyTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig())
			f.close()
			synctest.Test(t, func(t *testing.T) {
				f.comet().push = tt.push
				began := time.Now()
				if failed, _ := f.deliverMany(t.Context(), message{expireAt: 1}, keys); len(failed) != tt.failed {
					t.Errorf("%d keys failed, want %d", len(failed), tt.failed)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// TestDeliveryPanic: a panic in one comet's calls costs that comet's keys.
func TestDeliveryPanic(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	for _, name := range []string{"ok", "bug"} {
		f.cluster.nodes[name] = registry.Node{Name: name}
	}
	f.cluster.place = func(key string) string { return key }
	f.comet().push = func(ctx context.Context, node string, p peer.Push) ([]peer.PushResult, error) {
		if node == "bug" {
			panic("fake: a bug")
		}
		return answers(peer.OK)(ctx, node, p)
	}
	if failed, _ := f.deliverMany(t.Context(), message{expireAt: 1}, []string{"ok", "bug"}); !cmp.Equal(failed, []string{"bug"}) {
		t.Errorf("failed = %v, want bug alone", failed)
	}
}
