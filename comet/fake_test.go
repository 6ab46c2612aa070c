package comet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// fakeMessages is a message daemon in memory that keeps the store's rules.
type fakeMessages struct {
	now  func() time.Time
	most int // messages kept for a key; 0: all

	mu     sync.Mutex
	keys   map[string]*fakeKey
	tokens map[string]string
	saves  [][]string            // keys of each Save call
	before func(op string) error // runs without the lock before each call
	after  func(op string) error // runs without the lock after each call
}

// unreadable is what fakeMessages leaves out, as a store does with what is no
// message.
const unreadable = "?"

type fakeKey struct {
	last    int64
	trimmed int64
	stored  []peer.Stored
	nonces  map[string]int64
}

func newFakeMessages() *fakeMessages {
	return &fakeMessages{now: time.Now, keys: make(map[string]*fakeKey), tokens: make(map[string]string)}
}

// set replaces the hooks.
func (f *fakeMessages) set(before, after func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *fakeMessages) hook(h func() func(string) error, op string) error {
	f.mu.Lock()
	fn := h()
	f.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(op)
}

func (f *fakeMessages) key(k string) *fakeKey {
	if f.keys[k] == nil {
		f.keys[k] = &fakeKey{nonces: make(map[string]int64)}
	}
	return f.keys[k]
}

func (f *fakeMessages) Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error) {
	if err := f.hook(func() func(string) error { return f.before }, "save"); err != nil {
		return peer.SaveReply{}, err
	}
	var reply peer.SaveReply
	f.mu.Lock()
	var names []string
	for _, it := range args.Items {
		names = append(names, it.Key)
		reply.Results = append(reply.Results, f.save(it, args.Bodies[it.Body]))
	}
	f.saves = append(f.saves, names)
	f.mu.Unlock()
	if err := f.hook(func() func(string) error { return f.after }, "save"); err != nil {
		return peer.SaveReply{}, err
	}
	return reply, ctx.Err()
}

// save stores one item. f.mu is held.
func (f *fakeMessages) save(it peer.SaveItem, body json.RawMessage) peer.SaveResult {
	if strings.HasPrefix(it.Key, "bad") {
		return peer.SaveResult{Code: peer.Failed}
	}
	k := f.key(it.Key)
	if m, ok := k.nonces[it.Nonce]; ok && (it.Retry || it.Named || m > it.Known) {
		for _, old := range k.stored {
			if it.Named && old.Mid == m && !bytes.Equal(old.Msg, body) {
				return peer.SaveResult{Code: peer.Conflict}
			}
		}
		return peer.SaveResult{Mid: m, Prev: m}
	}
	r := peer.SaveResult{Prev: k.last, Mid: mid.Next(k.last, it.Floor, mid.Of(f.now()))}
	k.last = r.Mid
	k.nonces[it.Nonce] = r.Mid
	k.stored = append(k.stored, peer.Stored{Msg: body, Mid: r.Mid, ExpireAt: it.ExpireAt})
	if n := len(k.stored) - f.most; f.most > 0 && n > 0 {
		k.trimmed = k.stored[n-1].Mid
		k.stored = k.stored[n:]
	}
	return r
}

// direct saves as a web does that cannot reach the comet.
func (f *fakeMessages) direct(key, body, nonce string) peer.SaveResult {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.save(peer.SaveItem{Key: key, Nonce: nonce, ExpireAt: 1 << 40, Floor: mid.Unknown, Retry: true}, json.RawMessage(body))
}

func (f *fakeMessages) Read(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error) {
	if err := f.hook(func() func(string) error { return f.before }, "read"); err != nil {
		return peer.ReadReply{}, err
	}
	var reply peer.ReadReply
	f.mu.Lock()
	for _, it := range args.Items {
		k := f.key(it.Key)
		r := peer.ReadResult{Last: k.last, Trimmed: k.trimmed}
		n := 0
		for _, m := range k.stored {
			if m.Mid <= it.After || n == it.Limit {
				continue
			}
			if n++; n == it.Limit {
				r.Next = m.Mid
			}
			if string(m.Msg) != unreadable {
				r.Msgs = append(r.Msgs, m)
			}
		}
		reply.Results = append(reply.Results, r)
	}
	f.mu.Unlock()
	if err := f.hook(func() func(string) error { return f.after }, "read"); err != nil {
		return peer.ReadReply{}, err
	}
	return reply, ctx.Err()
}

func (f *fakeMessages) Shards(context.Context) (peer.ShardsReply, error) {
	return peer.ShardsReply{Base: 255, Nodes: map[string]int{"a": 1, "b": 1}}, nil
}

func (f *fakeMessages) TokenAdd(_ context.Context, args peer.TokenArgs) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[args.Key] = args.Token
	return nil
}

func (f *fakeMessages) TokenCheck(_ context.Context, args peer.TokenArgs) (peer.TokenReply, error) {
	if err := f.hook(func() func(string) error { return f.before }, "token"); err != nil {
		return peer.TokenReply{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch token, ok := f.tokens[args.Key]; {
	case !ok:
		return peer.TokenReply{}, nil
	case token != args.Token:
		return peer.TokenReply{State: peer.TokenOther}, nil
	}
	return peer.TokenReply{State: peer.TokenLive, Expires: time.Now().Add(time.Hour).Unix()}, nil
}

// fakeRing gives every key to this comet but those that begin with a prefix.
type fakeRing struct {
	mu      sync.Mutex
	foreign string
	epoch   int64
	changed chan struct{}
	told    []peer.MigrateArgs
	former  []*peer.Comet
	others  []*peer.Comet
	done    []peer.DoneArgs
	away    bool // the registry
	absent  bool // everybody who could be asked
	asked   int
}

func newFakeRing() *fakeRing {
	return &fakeRing{foreign: "foreign", epoch: 7, changed: make(chan struct{})}
}

func (r *fakeRing) Owns(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(key, r.foreign) {
		return peer.ErrNotMine
	}
	return nil
}

func (r *fakeRing) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *fakeRing) Told(a peer.MigrateArgs) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, a)
	return a.Epoch <= r.epoch
}

// move gives the keys with that prefix to another comet.
func (r *fakeRing) move(prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foreign = prefix
	r.epoch++
	close(r.changed)
	r.changed = make(chan struct{})
}

// fakeMember counts what happens to the comet's registration.
type fakeMember struct {
	info  registry.Info
	left  chan struct{}
	leave error // what Leave and Withdraw say
	set   chan registry.Info
	kept  []time.Time // to be read after Run
	back  bool        // its place was kept
}

func (m *fakeMember) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (m *fakeMember) Leave(context.Context) error   { close(m.left); return m.leave }
func (m *fakeMember) Set(i registry.Info)           { m.set <- i }
func (m *fakeMember) Kept() (kept, known bool)      { return m.back, true }
func (m *fakeMember) Withdraw(_ context.Context, keep time.Time) error {
	m.kept = append(m.kept, keep)
	return m.leave
}

// fakeSocket takes what is written to it. take says how many bytes the kernel
// takes of a write that does not wait.
type fakeSocket struct {
	mu      sync.Mutex
	written bytes.Buffer
	take    func(n int) int
	stalled bool // blocking writes take nothing until their deadline
	wrErr   error
	readEnd chan struct{} // closed with the socket
	once    sync.Once
	wdl     time.Time
	rdl     time.Time
	shut    bool
}

func newFakeSocket() *fakeSocket { return &fakeSocket{readEnd: make(chan struct{})} }

func (s *fakeSocket) TryWrite(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(b)
	if s.take != nil {
		n = min(n, s.take(n))
	}
	if s.shut {
		return 0, syscall.EPIPE
	}
	s.written.Write(b[:n])
	return n, s.wrErr
}

func (s *fakeSocket) Write(b []byte) (int, error) {
	s.mu.Lock()
	stalled, until := s.stalled, s.wdl
	s.mu.Unlock()
	if stalled {
		select {
		case <-time.After(time.Until(until)):
			return 0, os.ErrDeadlineExceeded
		case <-s.readEnd:
			return 0, net.ErrClosed
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return 0, syscall.EPIPE
	}
	return s.written.Write(b)
}

func (s *fakeSocket) Read([]byte) (int, error) { <-s.readEnd; return 0, io.EOF }
func (s *fakeSocket) Close() error             { s.once.Do(func() { close(s.readEnd) }); return nil }
func (s *fakeSocket) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	return nil
}
func (s *fakeSocket) LocalAddr() net.Addr         { return nil }
func (s *fakeSocket) RemoteAddr() net.Addr        { return nil }
func (s *fakeSocket) SetDeadline(time.Time) error { return nil }
func (s *fakeSocket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rdl = t
	return nil
}

func (s *fakeSocket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wdl = t
	return nil
}

// text is what was written so far.
func (s *fakeSocket) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

func (s *fakeSocket) isClosed() bool {
	select {
	case <-s.readEnd:
		return true
	default:
		return false
	}
}

// got is one message as a TCP client reads it, or word of a gap.
type got struct {
	Msg json.RawMessage `json:"msg"`
	Mid int64           `json:"mid"`
	Gap *wire.Gap       `json:"gap"`
}

// messages parses what was written so far; a frame cut off at the end is left
// out. It fails on anything that is no frame.
func (s *fakeSocket) messages(t *testing.T) []got {
	t.Helper()
	s.mu.Lock()
	rest := s.written.String()
	s.mu.Unlock()
	var all []got
	for rest != "" {
		if after, ok := strings.CutPrefix(rest, "+h\r\n"); ok {
			rest = after
			continue
		}
		head, body, ok := strings.Cut(rest, "\r\n")
		if !ok {
			return all
		}
		n, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
		if err != nil || head[0] != '$' {
			t.Fatalf("not a frame: %.80q", rest)
		}
		if len(body) < n+2 {
			return all
		}
		var g got
		if err := json.Unmarshal([]byte(body[:n]), &g); err != nil || body[n:n+2] != "\r\n" {
			t.Fatalf("not a message: %.80q: %v", body, err)
		}
		all = append(all, g)
		rest = body[n+2:]
	}
	return all
}

func bodies(all []got) []string {
	var out []string
	for _, g := range all {
		if g.Gap != nil {
			out = append(out, "gap")
			continue
		}
		out = append(out, string(g.Msg))
	}
	return out
}

func rising(all []got) bool {
	last := int64(0)
	for _, g := range all {
		if g.Gap == nil && g.Mid <= last {
			return false
		}
		last = max(last, g.Mid)
	}
	return true
}

var errDown = errors.New("store is down")

// The Moves of a fakeRing: former owners of every key, as the test sets them.
func (r *fakeRing) Former(string) []*peer.Comet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.former
}

func (r *fakeRing) Gone(c *peer.Comet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.former = slices.DeleteFunc(slices.Clone(r.former), func(f *peer.Comet) bool { return f == c })
}

func (r *fakeRing) Done(args peer.DoneArgs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, args)
}

func (r *fakeRing) Others() []*peer.Comet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.others
}

func (r *fakeRing) Root() int64 { return 3 }

func (r *fakeRing) Epoch() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

func (r *fakeRing) Comet(string) (*peer.Comet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.others) == 0 {
		return nil, errDown
	}
	return r.others[0], nil
}

// The Peers of a fakeRing.
func (r *fakeRing) Connected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.away
}

func (r *fakeRing) Ask(context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	return !r.absent
}

func (r *fakeRing) Tell() peer.ViewReply {
	return peer.ViewReply{Epoch: 7, Nodes: map[string]int{"node1": 1}}
}

// cut says who is out of reach.
func (r *fakeRing) cut(registry, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.absent = registry, all
}
