package comet

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
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
	// Others returns the other comets of the ring, and Epoch which ring that is,
	// among those of Root.
	Others() []*peer.Comet
	Epoch() int64
	Root() int64
	// Comet returns the comet that owns key.
	Comet(key string) (*peer.Comet, error)
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

// handOn hands a push that is not stored on to former owners, and gives it its
// turn here when they have it. It returns false if there are none.
func (c *channel) handOn(p *push) bool {
	return c.askFormer(p.payload, func() {
		c.handing = false
		p.handed = true
	})
}

// askFormer asks former owners how far they are with the key, handing on p if it
// is not nil, and calls then in the turn that knows. Who is silent is told, and
// not waited for. It returns false if there are none.
func (c *channel) askFormer(p *payload, then func()) bool {
	ring := c.env.moves.Epoch()
	former := c.env.moves.Former(c.key)
	if len(former) == 0 {
		return false
	}
	c.hold()
	var mu sync.Mutex
	open, at := len(former), formerAt{ring: ring, then: then}
	answered := func(given int64, err error) {
		mu.Lock()
		open--
		at.given = max(at.given, given)
		if err != nil {
			at.ring = 0
		}
		last := open == 0
		mu.Unlock()
		if last {
			c.post(at)
		}
	}
	for _, to := range former {
		silent := c.env.forwards.silent(to)
		c.env.forwards.send(to, forward{key: c.key, body: p}, func(given int64, err error) {
			if err != nil && glog.V(1) {
				glog.Infof("comet: former owner did not answer addr=%s key=%q err=%q", to.Addr(), c.key, err)
			}
			if !silent {
				answered(given, err)
			}
		})
		if silent {
			answered(0, errSilent)
		}
	}
	return true
}

// errSilent stands for the answer of a former owner that is not waited for.
var errSilent = errors.New("comet: silent for long")

// formerAt brings how far former owners are: the largest mid that one of them
// has given to anyone.
type formerAt struct {
	ring  int64 // that they were asked in; 0: not all have answered
	given int64
	then  func()
}

func (e formerAt) handle(c *channel) {
	c.leaving++
	c.given, c.sure, c.asked = max(c.given, e.given), e.ring, true
	e.then()
}

// forwarded brings a stored message that the new owner of the key hands on, or
// word of one, or asks how far the key is here.
type forwarded struct {
	peer.ForwardItem
	body  *payload     // nil: none
	given chan<- int64 // buffered
}

func (e forwarded) handle(c *channel) {
	c.leaving++
	switch {
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
func (s *Server) forward(ctx context.Context, args *peer.ForwardArgs) []peer.ForwardResult {
	bodies := make([]*payload, len(args.Bodies))
	for i, b := range args.Bodies {
		if msg.Check(b) == nil {
			bodies[i] = &payload{msg: b}
		}
	}
	body := func(it peer.ForwardItem) *payload {
		if it.Body < 0 || it.Body >= len(bodies) {
			return nil
		}
		return bodies[it.Body]
	}
	// What is not stored goes the way of a push: a save that is under way here
	// may take the very mid that comes next.
	var unstored []peer.ForwardItem
	for _, it := range args.Items {
		if it.Mid == 0 && body(it) != nil {
			unstored = append(unstored, it)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, handedTime)
	defer cancel()
	call := newCall(ctx, len(unstored))
	items := make([]push, len(unstored))
	keys := make([]string, len(unstored))
	for i, it := range unstored {
		p := &items[i]
		p.payload, p.call, p.index, p.handed = body(it), call, i, true
		keys[i] = it.Key
		if c := s.env.table.find(it.Key); c != nil {
			c.post(pushed{p})
		} else {
			p.refuse(peer.OK)
		}
	}
	s.await(call, items, keys)
	results := make([]peer.ForwardResult, len(args.Items))
	for i, it := range args.Items {
		c := s.env.table.find(it.Key)
		if c == nil {
			results[i].Given = s.env.table.high(it.Key)
			continue
		}
		given := make(chan int64, 1)
		c.post(forwarded{ForwardItem: it, body: body(it), given: given})
		results[i].Given = <-given
	}
	return results
}

// handedTime is how long a message that is not stored may wait at a former owner
// for the store.
const handedTime = forwardTime / 4

// handOver tells the owner of a key of a message that was saved here though the
// key has moved meanwhile. Only who is connected there waits for it, and the key's
// next push brings it too, so it is not tried for ever.
func (s *Server) handOver(key string, m int64) {
	s.tasks.Go(func() {
		wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
		var err error
		for range handOverTries {
			if err = s.tellSaved(key, m); err == nil {
				return
			}
			_ = wait.Wait(context.Background()) // which has no end
		}
		glog.V(1).Infof("comet: new owner not told key=%q err=%q", key, err)
	})
}

const handOverTries = 3

// tellSaved tells the owner of the day. One that does not know that it is the
// owner is an error.
func (s *Server) tellSaved(key string, m int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTime)
	defer cancel()
	to, err := s.deps.Moves.Comet(key)
	if err != nil {
		return err
	}
	codes, err := to.Sync(ctx, []peer.PendingKey{{Key: key, Mid: m}})
	if err != nil {
		return err
	}
	if len(codes) != 1 {
		return peer.ErrNoMethod // it does not keep to the call
	}
	return codes[0].Err()
}

// heldBy returns the channels, each of them held, that have somebody connected
// and that the comet at addr may have owned before.
func (s *Server) heldBy(addr string) []*channel {
	var all []*channel
	s.env.table.each(func(c *channel) bool {
		if c.present.Load() > 0 && slices.ContainsFunc(s.deps.Moves.Former(c.key), func(to *peer.Comet) bool { return to.Addr() == addr }) {
			c.hold()
			all = append(all, c)
		}
		return true
	})
	return all
}

// look makes a channel ask for the last mid in the store. A former owner of the
// key that was the last to hear of the move may have taken pushes and saved them
// when clients had joined here already. Once it is done it saves none any more.
type look struct{}

func (look) handle(c *channel) {
	c.leaving++
	c.read(&reading{
		item:   peer.ReadItem{Key: c.key},
		wanted: func() bool { return len(c.sessions) > 0 },
		done: func(r peer.ReadResult, err error) {
			if err == nil {
				c.raise(r.Last)
			}
		},
	})
}
