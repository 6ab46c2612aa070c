package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

const (
	// pushTime is what a push may take in all, and answerTime what is kept back
	// of it so that the answer is there in time. A comet is given less again
	// (peer), 200 ms in all, so that it can still tell which keys failed.
	pushTime   = 2 * time.Second
	answerTime = 50 * time.Millisecond
	// turns is how often an owner may say that a key is not its own, turnWait
	// apart, before the message is saved without one: two views of the ring
	// agree again within moments, or not soon.
	turns    = 3
	turnWait = 100 * time.Millisecond
)

// target is a key that a message is for. It is owned by the goroutine that
// delivers to it.
type target struct {
	key  string
	code peer.Code // what became of it: peer.Failed until something better is sure
	done bool      // code is final
	// What happened so far:
	turned int    // times nobody took it, for sure
	lost   bool   // it was sent once, and the answer did not come
	why    string // where it failed last, and of what; for the log
}

func newTarget(key string) *target { return &target{key: key, code: peer.Failed} }

// err returns nil if the message was taken, and otherwise names the key and why
// not. The code alone decides what the error is.
func (t *target) err() error {
	err := t.code.Err()
	if err == nil {
		return nil
	}
	why := t.why
	if why == "" {
		why = "the time was over before it was sent"
	}
	return fmt.Errorf("%w: key=%q %s", err, t.key, why)
}

func (t *target) end(code peer.Code) { t.code, t.done = code, true }

// deliver pushes m to open, which is one key or a few that most likely live on
// one comet, and returns when each of them has its code, in pushTime at most.
//
//	          ┌──────────── not mine, at most twice; 100 ms later ────────────┐
//	          ▼                                                               │
//	open ─▶ owner of now ─▶ CometRPC.Push ─┬─ ok, failed, invalid ─▶ code     │
//	          ▲                            ├─ not mine ───────────────────────┤
//	          │                            ├─ not sent ───▶ MessageRPC.Save ◀─┘ the third time
//	          └── once, with Retry ────────┴─ lost, or half of the time gone
//
// A message that is not to be kept (expire 0) is never saved: where its owner
// cannot be reached it is tried again like "not mine" and then fails, because
// nobody got it and the caller may try again. Once it was sent it is not
// repeated, for no store would know that it is a repeat.
func (s *Server) deliver(ctx context.Context, m message, open []*target) {
	ctx, cancel := context.WithTimeout(ctx, pushTime-answerTime)
	defer cancel()
	for ctx.Err() == nil { // it may be over before the first call of a long mprivate
		s.attemptAll(ctx, m, open)
		var again []*target
		turned := false
		for _, t := range open {
			if !t.done {
				again = append(again, t)
				turned = turned || t.turned > 0
			}
		}
		if open = again; len(open) == 0 {
			return
		}
		pause := time.Duration(0) // a lost answer is asked for again at once
		if turned {
			pause = turnWait
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// attemptAll sends m to the comets that own open by now, all at once.
func (s *Server) attemptAll(ctx context.Context, m message, open []*target) {
	if len(open) == 1 {
		s.attempt(ctx, m, open)
		return
	}
	var wg sync.WaitGroup
	for _, group := range s.byNode(open) {
		wg.Go(func() { contain(func() { s.attempt(ctx, m, group) }) })
	}
	wg.Wait()
}

// byNode sorts targets by the node that owns them. Without a ring they are all
// nobody's.
func (s *Server) byNode(targets []*target) map[string][]*target {
	groups := make(map[string][]*target)
	for _, t := range targets {
		node, _ := s.dir.Lookup(t.key)
		groups[node.Name] = append(groups[node.Name], t)
	}
	return groups
}

// attempt sends m to one comet for group, once.
func (s *Server) attempt(ctx context.Context, m message, group []*target) {
	results, comet, err := s.send(ctx, m, group)
	var direct []*target
	for i, t := range group {
		var code peer.Code
		if err == nil {
			code = results[i].Code
		}
		switch {
		case err != nil:
			t.why = fmt.Sprintf("%s: %v", s.whereabouts(group[0].key, comet), err)
		case code != peer.OK:
			t.why = fmt.Sprintf("%s answered %v", s.whereabouts(group[0].key, comet), code)
		}
		switch {
		case err == nil && code != peer.NotMine:
			t.end(code)
		case err == nil, errors.Is(err, peer.ErrNotMine):
			if t.turned++; t.turned == turns {
				direct = append(direct, t)
			}
		case errors.Is(err, peer.ErrInvalid):
			t.end(peer.Invalid)
		case errors.Is(err, peer.ErrFailed), errors.Is(err, peer.ErrNoMethod):
			t.end(peer.Failed)
		case errors.Is(err, rpcnet.ErrNotSent):
			if t.turned++; m.expireAt > 0 || t.turned == turns {
				direct = append(direct, t)
			}
		case m.expireAt == 0 || t.lost:
			t.end(peer.Failed)
		default:
			t.lost = true
		}
	}
	s.save(ctx, m, direct)
}

// send calls the comet that owns group's first key: the others follow it, and
// those that do not are told that they are not its own. It waits for half of
// the time left where the call may be repeated in the other half. The comet is
// told of all of it: its answer to the repeat may rest on the first call.
func (s *Server) send(ctx context.Context, m message, group []*target) ([]peer.PushResult, *peer.Comet, error) {
	comet, err := s.dir.Comet(group[0].key)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", rpcnet.ErrNotSent, err)
	}
	keys := make([]string, len(group))
	lost := false
	for i, t := range group {
		keys[i] = t.key
		lost = lost || t.lost
	}
	if end, ok := ctx.Deadline(); ok && m.expireAt > 0 && !lost {
		half, cancel := context.WithCancel(ctx)
		defer cancel()
		defer time.AfterFunc(time.Until(end)/2, cancel).Stop()
		ctx = half
	}
	results, err := comet.Push(ctx, []peer.Push{{
		Keys: keys, Msg: m.body, ExpireAt: m.expireAt, Nonce: m.nonce, Retry: lost, Named: m.named,
	}})
	return results, comet, err
}

// whereabouts says in the log which comet was asked for key, and its node unless
// the key has moved since. nil: there is none.
func (s *Server) whereabouts(key string, comet *peer.Comet) string {
	if comet == nil {
		return "no comet"
	}
	node, _ := s.dir.Lookup(key)
	if node.Info().Addr() != comet.Addr() {
		return fmt.Sprintf("comet=%s (the key has moved since)", comet.Addr())
	}
	return fmt.Sprintf("node=%s comet=%s", node.Name, comet.Addr())
}

// save stores m for targets without a comet, which is told of it later. A
// message that is not to be kept fails.
func (s *Server) save(ctx context.Context, m message, targets []*target) {
	if len(targets) == 0 {
		return
	}
	for _, t := range targets {
		t.end(peer.Failed)
	}
	if m.expireAt == 0 {
		return
	}
	args := peer.SaveArgs{Bodies: []json.RawMessage{m.body}}
	for _, t := range targets {
		args.Items = append(args.Items, peer.SaveItem{
			Key: t.key, ExpireAt: m.expireAt, Nonce: m.nonce,
			Floor: mid.Unknown, Known: mid.Unknown, Retry: t.lost, Named: m.named, Pending: true,
		})
	}
	s.count.direct.Add(int64(len(targets)))
	reply, err := s.stored.Save(ctx, args)
	if err == nil && len(reply.Results) != len(targets) {
		err = fmt.Errorf("%d answers for %d keys", len(reply.Results), len(targets))
	}
	for i, t := range targets {
		if err != nil {
			t.why += fmt.Sprintf("; nor could it be saved without the comet: %v", err)
			continue
		}
		if t.code = reply.Results[i].Code; t.code != peer.OK {
			t.why += fmt.Sprintf("; nor could it be saved without the comet: message answered %v", t.code)
		}
	}
}

// contain runs f on a goroutine of its own making: a panic there would end the
// process, and has to cost no more than f's targets, which stay failed.
func contain(f func()) {
	defer func() {
		if p := recover(); p != nil {
			glog.Errorf("web: delivery panicked panic=%v\n%s", p, debug.Stack())
		}
	}()
	f()
}
