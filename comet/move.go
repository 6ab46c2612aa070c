package comet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/batch"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// Keys move when the ring changes. Their new owner serves them at once; the
// former one sends their sessions away at a pace, which takes a while. Until it
// says that it is done, the new owner hands on to it what is pushed, so that a
// client which waits for its turn misses nothing:
//
//	web ─push─▶ new owner ─┬─ save ─▶ own sessions
//	                       └─ Forward ─▶ former owner ─▶ sessions that wait
//	                                        └─ Done, to every comet of the ring
//
// A stored message goes on with its mid and the one before it: a former owner
// that missed one fetches it like any other (fill.go). One that is not stored
// gets its mid from the former owner, which may have given more of them than we
// know of; its answer says how far it is, and our own follow.

// Moves is what comet knows of keys on their way.
type Moves interface {
	// Former returns the comets that key lived on before, until they are done.
	// Most of the time there are none.
	Former(key string) []*peer.Comet
	// Gone says that a comet cannot be reached: nobody is connected there.
	Gone(c *peer.Comet)
	// Done says that a comet is done.
	Done(args peer.DoneArgs)
	// Others returns the other comets of the ring, and Epoch which ring that is.
	Others() []*peer.Comet
	Epoch() int64
	// Comet returns the comet that owns key.
	Comet(key string) (*peer.Comet, error)
}

// forwards is the way to former owners: one lane each, so that one that hangs
// holds up nobody else's.
type forwards struct {
	moves Moves

	mu     sync.Mutex
	lanes  map[*peer.Comet]*batch.Lane[forward, peer.ForwardResult] // guarded by mu
	closed bool                                                     // guarded by mu
}

// forward is one item on its way to a former owner.
type forward struct {
	key  string
	body *payload // nil: none
	mid  int64    // 0: not stored
	prev int64
	ends int64 // the expiry of a stored message
}

const (
	// forwardTime bounds one call to a former owner. One that is frozen delays
	// what is not stored by this much, once; a stored message waits for nobody.
	forwardTime  = time.Second
	forwardItems = 256
	forwardBytes = 1 << 20
	forwardQueue = 1 << 14
)

func newForwards(m Moves) *forwards {
	return &forwards{moves: m, lanes: make(map[*peer.Comet]*batch.Lane[forward, peer.ForwardResult])}
}

// send hands f to a former owner and calls done once with the largest mid that
// it has given to anyone. One that cannot be reached has given none.
func (w *forwards) send(to *peer.Comet, f forward, done func(given int64, err error)) {
	lane := w.lane(to)
	if lane == nil {
		done(0, batch.ErrClosed)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
	lane.Submit(ctx, f, func(r peer.ForwardResult, err error) {
		cancel()
		if errors.Is(err, rpcnet.ErrNotSent) || errors.Is(err, peer.ErrNoMethod) {
			w.moves.Gone(to)
			err = nil
		}
		done(r.Given, err)
	})
}

// lane returns the lane to a comet, or nil after close.
func (w *forwards) lane(to *peer.Comet) *batch.Lane[forward, peer.ForwardResult] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	lane := w.lanes[to]
	if lane == nil {
		lane = batch.New(batch.Options[forward]{
			InFlight: 1, // what is not stored keeps its order
			Items:    forwardItems, Queue: forwardQueue,
			Weight: func(f forward) int { return f.body.bytes() }, MaxWeight: forwardBytes,
		}, func(ctx context.Context, items []forward) ([]peer.ForwardResult, error) {
			return to.Forward(ctx, forwardArgs(items))
		})
		w.lanes[to] = lane
	}
	return lane
}

// bytes is what the message weighs; no message weighs nothing.
func (p *payload) bytes() int {
	if p == nil {
		return 0
	}
	return len(p.msg)
}

// forwardArgs renders items as one call. Those that share a message share its
// bytes.
func forwardArgs(items []forward) peer.ForwardArgs {
	var a peer.ForwardArgs
	index := map[*payload]int{nil: -1}
	for _, f := range items {
		i, ok := index[f.body]
		if !ok {
			i = len(a.Bodies)
			index[f.body] = i
			a.Bodies = append(a.Bodies, json.RawMessage(f.body.msg))
		}
		a.Items = append(a.Items, peer.ForwardItem{Key: f.key, Body: i, Mid: f.mid, Prev: f.prev, ExpireAt: f.ends})
	}
	return a
}

// close lets what is under way come to its end and takes no more.
func (w *forwards) close() {
	w.mu.Lock()
	w.closed = true
	all := w.lanes
	w.lanes = nil
	w.mu.Unlock()
	for _, lane := range all {
		lane.Close()
	}
}

// forwardStored hands a stored message, or word of one, to former owners. Nobody
// waits for it.
func (c *channel) forwardStored(d *delivery, m, prev int64) {
	for _, to := range c.env.moves.Former(c.key) {
		f := forward{key: c.key, mid: m, prev: prev}
		if d != nil {
			f.body, f.ends = d.payload, d.expires
		}
		c.env.forwards.send(to, f, func(int64, error) {})
	}
}

// askFormer asks former owners how far they are with the key, handing on p if it
// is not nil, and posts what then makes of the largest answer. It returns false
// if there are none.
func (c *channel) askFormer(p *payload, then func(given int64) event) bool {
	former := c.env.moves.Former(c.key)
	if len(former) == 0 {
		return false
	}
	c.hold()
	var mu sync.Mutex
	open, most := len(former), int64(0)
	for _, to := range former {
		c.env.forwards.send(to, forward{key: c.key, body: p}, func(given int64, err error) {
			if err != nil && glog.V(1) {
				glog.Infof("comet: former owner did not answer addr=%s key=%q err=%v", to.Addr(), c.key, err)
			}
			mu.Lock()
			open--
			most = max(most, given)
			last, given := open == 0, most
			mu.Unlock()
			if last {
				c.post(then(given))
			}
		})
	}
	return true
}

// handedOn brings word that a push, which is not stored, is with the
// former owners; its turn here has come.
type handedOn struct {
	*push
	given int64
}

func (e handedOn) handle(c *channel) {
	c.leaving++
	c.handing = false
	c.given, c.asked = max(c.given, e.given), true
	e.handed = true
}

// furthest brings how far former owners are with the key, before its base is
// read.
type furthest struct{ given int64 }

func (e furthest) handle(c *channel) {
	c.leaving++
	c.given, c.asked = max(c.given, e.given), true
	c.readBase(newBaseBackoff())
}

// forwarded brings what the new owner of the key hands on, or asks.
type forwarded struct {
	peer.ForwardItem
	body  *payload     // nil: none
	given chan<- int64 // buffered
}

func (e forwarded) handle(c *channel) {
	c.leaving++
	switch {
	case e.Mid == 0 && e.body != nil:
		if len(c.sessions) > 0 && c.based {
			c.queue(e.body)
		}
	case e.Mid > 0 && e.body != nil:
		c.stored(&delivery{payload: e.body, mid: e.Mid, prev: e.Prev, stored: true, expires: e.ExpireAt}, e.Mid, e.Prev)
	case e.Mid > 0:
		c.stored(nil, e.Mid, e.Mid)
	}
	e.given <- c.given
}

// forward takes what the new owner of keys hands on, and says how far each key
// is here. Of a key that nobody is connected to any more, its shard of the table
// knows enough.
func (s *Server) forward(args *peer.ForwardArgs) []peer.ForwardResult {
	bodies := make([]*payload, len(args.Bodies))
	for i, b := range args.Bodies {
		if msg.Check(b) == nil {
			bodies[i] = &payload{msg: b}
		}
	}
	results := make([]peer.ForwardResult, len(args.Items))
	for i, it := range args.Items {
		c := s.env.table.find(it.Key)
		if c == nil {
			results[i].Given = s.env.table.high(it.Key)
			continue
		}
		given := make(chan int64, 1)
		e := forwarded{ForwardItem: it, given: given}
		if it.Body >= 0 && it.Body < len(bodies) {
			e.body = bodies[it.Body]
		}
		c.post(e)
		results[i].Given = <-given
	}
	return results
}

// handOver tells the owner of a key of a message that was saved here though the
// key has moved meanwhile.
func (s *Server) handOver(key string, m int64) {
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
		defer cancel()
		to, err := s.deps.Moves.Comet(key)
		if err == nil {
			_, err = to.Sync(ctx, []peer.PendingKey{{Key: key, Mid: m}})
		}
		if err != nil {
			glog.V(1).Infof("comet: new owner not told key=%q err=%v", key, err)
		}
	})
}

// awaitMoved waits until nobody is connected to a key of somebody else's, and
// returns false if ctx ends or the ring changes first.
func (s *Server) awaitMoved(ctx context.Context, changed <-chan struct{}) bool {
	tick := time.NewTicker(movedLook)
	defer tick.Stop()
	for {
		clean := true
		s.env.table.each(func(c *channel) bool {
			clean = s.owns(c.key) == nil || c.present.Load() == 0
			return clean
		})
		if clean {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return false
		case <-tick.C:
		}
	}
}

// movedLook is how often a comet looks whether those it sent away are gone.
const movedLook = 100 * time.Millisecond

// tellDone tells every other comet that nobody is connected here to a key of
// theirs in the ring of that epoch. It tries again until each has heard it, is
// out of reach, or the ring changes.
func (s *Server) tellDone(ctx context.Context, changed <-chan struct{}, epoch int64) {
	ctx, cancel := context.WithCancel(ctx)
	var watch, tell sync.WaitGroup
	watch.Go(func() {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		cancel()
	})
	args := peer.DoneArgs{Addr: strings.Join(s.info.RPC, ","), Epoch: epoch, High: s.env.table.highest()}
	for _, to := range s.deps.Moves.Others() {
		tell.Go(func() { tellOne(ctx, to, args) })
	}
	tell.Wait()
	cancel()
	watch.Wait()
}

func tellOne(ctx context.Context, to *peer.Comet, args peer.DoneArgs) {
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for refused := 0; refused < doneTries; {
		call, cancel := context.WithTimeout(ctx, forwardTime)
		err := to.Done(call, args)
		cancel()
		switch {
		case err == nil, errors.Is(err, peer.ErrNoMethod):
			return
		case errors.Is(err, rpcnet.ErrNotSent):
			refused++
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// doneTries is after how many dials in vain a comet is taken to be gone. Should
// it come back, that is a change of the ring.
const doneTries = 5
