package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
)

// model is what a store says of one key, in the plainest words.
type model struct {
	msgs          []msg.Message // by rising mid
	ids           map[string]modelID
	last, trimmed int64
}

// modelID is what is left of a message with its caller's id.
type modelID struct {
	mid, till int64
	body      string
}

func (m *model) save(it item, clock, now int64) saved {
	if id, ok := m.ids[it.msg.Nonce]; ok && it.named && now < id.till {
		if id.body != string(it.msg.Body) {
			return saved{err: errIDTaken}
		}
		return saved{mid: id.mid, prev: id.mid}
	}
	for _, old := range m.msgs {
		if it.msg.Nonce != "" && old.Nonce == it.msg.Nonce && (it.named && !old.Expired(now) || !it.named && (it.retry || old.Mid > it.known)) {
			if it.named && !bytes.Equal(old.Body, it.msg.Body) {
				return saved{err: errIDTaken}
			}
			return saved{mid: old.Mid, prev: old.Mid}
		}
	}
	got := saved{mid: it.next(m.last, clock), prev: m.last}
	it.msg.Mid = got.mid
	if it.named {
		m.ids[it.msg.Nonce] = modelID{got.mid, now + int64(idKept.Seconds()), string(it.msg.Body)}
	}
	m.keep(it.msg, clock, now)
	return got
}

func (m *model) put(it item, clock, now int64) error {
	i := slices.IndexFunc(m.msgs, func(old msg.Message) bool { return old.Mid == it.msg.Mid })
	switch {
	case i < 0:
	case !bytes.Equal(m.msgs[i].Body, it.msg.Body):
		return errMidTaken
	case m.msgs[i].Expires >= it.msg.Expires:
		return nil
	default:
		m.msgs = slices.Delete(m.msgs, i, i+1)
	}
	m.keep(it.msg, clock, now)
	return nil
}

// keep adds one message. As in a store, what has expired is dropped only when
// there are too many, so that its nonce is known until then.
func (m *model) keep(one msg.Message, clock, now int64) {
	if !mid.Foreign(one.Mid, clock) {
		m.last = max(m.last, one.Mid)
	}
	m.msgs = append(m.msgs, one)
	slices.SortFunc(m.msgs, func(a, b msg.Message) int { return int(a.Mid - b.Mid) })
	if len(m.msgs) <= keepForTest {
		return
	}
	var kept []msg.Message
	n, far := 0, 0
	for _, old := range slices.Backward(m.msgs) {
		switch {
		case old.Expired(now):
			continue
		case mid.Foreign(old.Mid, clock):
			if far++; far > keepForTest {
				continue
			}
		default:
			if n++; n > keepForTest {
				m.trimmed = max(m.trimmed, old.Mid)
				continue
			}
		}
		kept = append(kept, old)
	}
	slices.Reverse(kept)
	m.msgs = kept
}

func (m *model) read(after, now int64, limit int) found {
	f := found{last: m.last, trimmed: m.trimmed}
	for _, one := range m.msgs {
		if one.Mid > after && !one.Expired(now) && len(f.msgs) < limit {
			f.msgs = append(f.msgs, one)
		}
	}
	return f
}

// testModel does what comes to a random mind, and wants the store to say what
// the model says.
func testModel(t *testing.T, f *fixture, key string) {
	for seed := range uint64(12) {
		m := model{ids: make(map[string]modelID)}
		rnd := rand.New(rand.NewPCG(seed, 1))
		key := fmt.Sprint(key, seed)
		var trail []string
		for step := range 200 {
			clock, now := f.clock.mid(), f.now().Unix()
			it := item{key: key, msg: message(fmt.Sprint(rnd.IntN(40)), f.in(time.Duration(rnd.IntN(120)+1)*time.Second), "")}
			var got, want any
			switch n := rnd.IntN(100); {
			case n < 60:
				it.msg.Nonce = fmt.Sprint(rnd.IntN(1000))
				it.retry = rnd.IntN(3) == 0
				if rnd.IntN(4) == 0 {
					it.named, it.msg.Nonce = true, fmt.Sprint("i", rnd.IntN(12))
					it.msg.Body = json.RawMessage(fmt.Sprint(rnd.IntN(2)))
				}
				it.known = max(0, m.last-rnd.Int64N(5*mid.Step))
				it.floor = []int64{0, mid.Unknown, m.last + rnd.Int64N(400), m.last / 2, mid.AtLeast(m.last + rnd.Int64N(2*mid.Blind))}[rnd.IntN(5)]
				trail = append(trail, fmt.Sprintf("save %+v", it))
				got, want = f.Save(t.Context(), []item{it})[0], m.save(it, clock, now)
			case n < 80:
				it.msg.Mid = clock + rnd.Int64N(2000) - 1500
				switch rnd.IntN(12) {
				case 0:
					it.msg.Mid += 2 * 3600 * mid.Second // far ahead
				case 1, 2, 3:
					it.msg.Mid -= rnd.Int64N(60 * mid.Second) // far behind
				}
				if len(m.msgs) > 0 && rnd.IntN(4) == 0 {
					again := m.msgs[rnd.IntN(len(m.msgs))]
					it.msg.Mid, it.msg.Body = again.Mid, again.Body
				}
				trail = append(trail, fmt.Sprintf("put %+v", it))
				got, want = errors.Is(f.Put(t.Context(), []item{it})[0], errMidTaken), m.put(it, clock, now) != nil
			case n < 88:
				d := time.Duration(rnd.IntN(20_000)) * time.Millisecond
				if rnd.IntN(8) == 0 {
					d = time.Duration(rnd.IntN(int(idKept)))
				}
				trail = append(trail, fmt.Sprint("advance ", d))
				f.advance(d)
			case n > 98:
				trail = append(trail, "delete")
				if err := f.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				m.msgs = nil
			}
			if got != want {
				t.Fatalf("seed %d, step %d: got %+v, want %+v after\n%q", seed, step, got, want, trail)
			}
			after, limit := max(0, m.last-rnd.Int64N(3000)), 1+rnd.IntN(40)
			read := f.Read(t.Context(), []query{{key: key, after: after, limit: limit}})[0]
			model := m.read(after, f.now().Unix(), limit)
			if read.err != nil || read.last != model.last || read.trimmed != model.trimmed ||
				!slices.EqualFunc(read.msgs, model.msgs, func(a, b msg.Message) bool {
					return a.Mid == b.Mid && bytes.Equal(a.Body, b.Body) && a.Expires == b.Expires && a.Nonce == b.Nonce
				}) {
				t.Fatalf("seed %d, step %d: read after %d, at most %d:\n got %+v\nwant %+v\nafter %q", seed, step, after, limit, read, model, trail)
			}
		}
	}
}
