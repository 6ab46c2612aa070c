package message

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/peer"
)

// keepForTest is how many messages a store under test keeps for a key.
const keepForTest = 20

// fixture is a store under test.
type fixture struct {
	store
	*clock
	// reopen closes the store and opens it again over what it left behind.
	reopen func() store
	// old writes a member as an old daemon does. Nil: no old daemon ever wrote
	// into this store.
	old func(key, score, member string)
}

// clock is a time that tests move.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }
func (c *clock) mid() int64              { return mid.Of(c.now()) }
func (c *clock) in(d time.Duration) int64 {
	return c.now().Add(d).Unix()
}

// testStore is what every store must pass. open is called once; the tests share
// the store and take a key each.
func testStore(t *testing.T, open func(t *testing.T, c *clock) *fixture) {
	c := newClock()
	f := open(t, c)
	f.clock = c
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f *fixture, key string)
	}{
		{"a mid is the smallest multiple that fits", testMidRule},
		{"a save that knows no floor leaves room", testBlind},
		{"an impossible floor raises nothing", testImpossibleFloor},
		{"a batch is handled in order", testBatchOrder},
		{"a nonce is stored once", testNonce},
		{"a caller's id is known when its message is gone", testID},
		{"a caller's id is one message's", testIDTaken},
		{"a caller's id is the key's own", testIDKeys},
		{"one id from many callers", testIDConcurrent},
		{"equal bodies stay two", testEqualBodies},
		{"a body cannot pretend to be a header", testSpoof},
		{"the newest are kept and the trimmed mid is told", testTrim},
		{"fewer are kept from now on", testKeepFewer},
		{"expired ones do not count as newer", testTrimCountsLive},
		{"an expired message is not served", testExpired},
		{"read keeps to its bounds", testReadBounds},
		{"an unknown key is empty", testUnknownKey},
		{"a record outlives its messages", testRecordOutlivesExpiry},
		{"a record outlives deletion", testDelete},
		{"put keeps the very mid", testPut},
		{"put of a mid that is taken", testPutTaken},
		{"put far ahead of the clock", testPutFar},
		{"the mids of old daemons count", testForeignLast},
		{"concurrent saves to one key", testConcurrent},
		{"keys of every kind", testKeys},
		{"a body of 1 MiB", testLargeBody},
		{"a pending save is noted", testPending},
		{"tokens: none, other, live", testTokens},
		{"tokens: renewed by use", testTokenRenewal},
		{"tokens: sixteen at most", testTokenLimit},
		{"members of old daemons", testOldMembers},
		{"anything, as the model has it", testModel},
		{"everything is there after a restart", testReopen},
		{"a context that is over", testContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, f, strings.ReplaceAll(t.Name(), "/", ".")) })
	}
}

func message(body string, expires int64, nonce string) msg.Message {
	return msg.Message{Body: json.RawMessage(body), Expires: expires, Nonce: nonce}
}

// save1 saves one message and fails the test on an error.
func (f *fixture) save1(t *testing.T, it item) saved {
	t.Helper()
	s := f.Save(t.Context(), []item{it})[0]
	if s.err != nil {
		t.Fatalf("save of %q: %v", it.key, s.err)
	}
	return s
}

// say saves body for an hour and returns its mid.
func (f *fixture) say(t *testing.T, key, body string) int64 {
	t.Helper()
	return f.save1(t, item{key: key, msg: message(body, f.in(time.Hour), "")}).mid
}

// read returns what is kept of key above after.
func (f *fixture) read(t *testing.T, key string, after int64) found {
	t.Helper()
	r := f.Read(t.Context(), []query{{key: key, after: after, limit: math.MaxInt}})[0]
	if r.err != nil {
		t.Fatalf("read of %q: %v", key, r.err)
	}
	return r
}

func mids(msgs []msg.Message) []int64 {
	out := make([]int64, len(msgs))
	for i, m := range msgs {
		out[i] = m.Mid
	}
	return out
}

func bodies(msgs []msg.Message) []string {
	out := make([]string, len(msgs))
	for i, m := range msgs {
		out[i] = string(m.Body)
	}
	return out
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(saved{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testMidRule(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`1`, f.in(time.Hour), "")}
	first := f.save1(t, it)
	same(t, "first, by the clock", first, saved{mid: mid.Next(0, 0, f.clock.mid()), prev: 0})

	second := f.save1(t, it)
	same(t, "second, by the last one", second, saved{mid: first.mid + mid.Step, prev: first.mid})

	it.floor = second.mid + 7*mid.Step
	third := f.save1(t, it)
	same(t, "third, by the floor", third, saved{mid: it.floor + mid.Step, prev: second.mid})

	it.floor = third.mid + 1
	fourth := f.save1(t, it)
	same(t, "fourth, by a floor between multiples", fourth, saved{mid: third.mid + mid.Step, prev: third.mid})

	f.advance(time.Minute)
	fifth := f.save1(t, it)
	same(t, "fifth, by the clock again", fifth, saved{mid: mid.Next(0, 0, f.clock.mid()), prev: fourth.mid})

	got := f.read(t, key, 0)
	same(t, "mids read", mids(got.msgs), []int64{first.mid, second.mid, third.mid, fourth.mid, fifth.mid})
	same(t, "last", got.last, fifth.mid)
}

func testBlind(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`1`, f.in(time.Hour), ""), floor: mid.Unknown}
	first := f.save1(t, it)
	same(t, "no last to step past", first, saved{mid: mid.Next(0, 0, f.clock.mid())})
	second := f.save1(t, it)
	same(t, "a step of mid.Blind", second, saved{mid: first.mid + mid.Blind, prev: first.mid})
	it.floor = mid.AtLeast(second.mid + 2*mid.Blind)
	third := f.save1(t, it)
	same(t, "above what is known to be given", third, saved{mid: second.mid + 2*mid.Blind + mid.Step, prev: second.mid})
	it.floor = mid.AtLeast(third.mid - mid.Step)
	same(t, "a step of mid.Blind still", f.save1(t, it), saved{mid: third.mid + mid.Blind, prev: third.mid})
}

func testImpossibleFloor(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`1`, f.in(time.Hour), ""), floor: math.MaxInt64}
	first := f.save1(t, it)
	same(t, "floor ignored", first.mid, mid.Next(0, 0, f.clock.mid()))
	same(t, "next save", f.save1(t, it).mid, first.mid+mid.Step)
}

func testBatchOrder(t *testing.T, f *fixture, key string) {
	var items []item
	for i := range 12 {
		items = append(items, item{key: fmt.Sprintf("%s%d", key, i%2), msg: message(fmt.Sprint(i), f.in(time.Hour), fmt.Sprint("n", i%10))})
	}
	// Items 10 and 11 repeat the nonces of 0 and 1, whose keys are theirs.
	got := f.Save(t.Context(), items)
	var last [2]int64
	for i, s := range got[:10] {
		if s.err != nil {
			t.Fatal(s.err)
		}
		if s.prev != last[i%2] || s.mid <= s.prev {
			t.Errorf("item %d: mid %d prev %d, want prev %d and a larger mid", i, s.mid, s.prev, last[i%2])
		}
		last[i%2] = s.mid
	}
	for i := 10; i < 12; i++ {
		same(t, fmt.Sprintf("item %d repeats item %d", i, i-10), got[i], saved{mid: got[i-10].mid, prev: got[i-10].mid})
	}
	same(t, "bodies of the first key", bodies(f.read(t, key+"0", 0).msgs), []string{"0", "2", "4", "6", "8"})
}

func testNonce(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`"once"`, f.in(time.Hour), "nonce-1")}
	first := f.save1(t, it)
	other := f.say(t, key, `"other"`)

	hit := saved{mid: first.mid, prev: first.mid}
	same(t, "known below it", f.save1(t, it), hit)

	it.known, it.retry = other, true
	same(t, "a retry looks everywhere", f.save1(t, it), hit)

	it.retry = false
	it.known = first.mid - 1
	same(t, "known just below it", f.save1(t, it), hit)
	same(t, "a hit adds nothing", bodies(f.read(t, key, 0).msgs), []string{`"once"`, `"other"`})

	it.known = first.mid
	again := f.save1(t, it)
	if again.mid <= other || again.prev != other {
		t.Errorf("known at its mid: got %+v, want a new message after %d", again, other)
	}

	elsewhere := it
	elsewhere.key += "2"
	elsewhere.retry = true
	same(t, "another key with this nonce", f.save1(t, elsewhere).prev, 0)
}

func testID(t *testing.T, f *fixture, key string) {
	named := func(key, id string, life time.Duration) item {
		return item{key: key, msg: message(`"once"`, f.in(life), id), named: true}
	}
	for _, way := range []struct {
		name string
		life time.Duration
		lose func(key string)
	}{
		{"kept", time.Hour, func(string) {}},
		{"trimmed", time.Hour, func(key string) {
			for range keepForTest + 1 {
				f.say(t, key, `"newer"`)
			}
		}},
		{"expired", 2 * time.Second, func(key string) {
			f.advance(3 * time.Second)
			f.sweep(t)
		}},
		{"deleted", time.Hour, func(key string) {
			if err := f.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		key := key + way.name
		first := f.save1(t, named(key, "id", way.life))
		began := f.now()
		way.lose(key)
		before := mids(f.read(t, key, 0).msgs)
		same(t, way.name+": when it came before", before != nil && slices.Contains(before, first.mid), way.name == "kept")

		it := named(key, "id", 2*time.Hour) // its caller counts from now
		it.known = f.read(t, key, 0).last   // whatever that is
		hit := saved{mid: first.mid, prev: first.mid}
		f.advance(began.Add(idKept - time.Second).Sub(f.now()))
		f.sweep(t)
		same(t, way.name+": again", f.save1(t, it), hit)
		it.pending = true
		same(t, way.name+": again, saved without its comet", f.save1(t, it), hit)
		pending, err := f.Pending(t.Context(), 99)
		if err != nil {
			t.Fatal(err)
		}
		same(t, way.name+": and pending", pending, []peer.PendingKey{{Key: key, Mid: first.mid}})
		if err := f.Settle(t.Context(), pending); err != nil {
			t.Fatal(err)
		}
		same(t, way.name+": adds nothing", mids(f.read(t, key, 0).msgs), before)

		it.pending = false
		f.advance(time.Second)
		f.sweep(t)
		last := f.read(t, key, 0).last
		switch late := f.save1(t, it); {
		case way.name == "kept":
			same(t, "kept: after ten minutes", late, hit)
		case late.prev != last || late.mid <= last:
			t.Errorf("%s: after ten minutes %+v, want a new one after %d", way.name, late, last)
		}
	}
}

func testIDTaken(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`"a"`, f.in(time.Hour), "id"), named: true}
	first := f.save1(t, it)
	other := it
	other.msg.Body = json.RawMessage(`"b"`)
	refused := func(when string) {
		t.Helper()
		// The items around it are none the worse.
		got := f.Save(t.Context(), []item{it, other, {key: key + when, msg: message(`1`, f.in(time.Hour), "")}})
		same(t, when+": the same message", got[0], saved{mid: first.mid, prev: first.mid})
		if !errors.Is(got[1].err, errIDTaken) || !errors.Is(got[1].err, peer.ErrInvalid) {
			t.Errorf("%s: another message: %+v, want errIDTaken", when, got[1])
		}
		if got[2].err != nil {
			t.Errorf("%s: the next one: %v", when, got[2].err)
		}
	}
	refused("kept")
	f.advance(idKept)
	f.sweep(t)
	refused("kept longer than its id")
	same(t, "stored", bodies(f.read(t, key, 0).msgs), []string{`"a"`})

	it.msg.Nonce, other.msg.Nonce = "id2", "id2"
	first = f.save1(t, it)
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	refused("gone")
	f.advance(idKept)
	if s := f.save1(t, other); s.prev != first.mid {
		t.Errorf("after ten minutes: %+v, want a new one after %d", s, first.mid)
	}
}

// The names of keys and ids are put together in the store.
func testIDKeys(t *testing.T, f *fixture, key string) {
	n := int64(0)
	for _, k := range []string{"", "a", "ab", ":", "a:", ":a", "id:", "\x00", "\xff", "a\r\n"} {
		for _, id := range []string{"a", "aa", "b", "-", "_"} {
			k := key + k
			if len(k) == 0 {
				continue
			}
			s := f.save1(t, item{key: k, msg: message(fmt.Sprint(n), f.in(time.Hour), id), named: true})
			if s.prev == s.mid {
				t.Errorf("key %q has no message with the id %q, and was given another's", k, id)
			}
			n++
		}
	}
}

func testIDConcurrent(t *testing.T, f *fixture, key string) {
	const callers = 20
	got := make([]saved, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			it := item{key: key, msg: message(`"once"`, f.in(time.Hour), "id"), named: true, pending: i%3 == 0}
			got[i] = f.Save(t.Context(), []item{it})[0]
		})
	}
	wg.Wait()
	kept := f.read(t, key, 0).msgs
	same(t, "kept", bodies(kept), []string{`"once"`})
	first := 0
	for _, s := range got {
		if s.err != nil || len(kept) != 1 || s.mid != kept[0].Mid {
			t.Errorf("a caller was told %+v, want mid %v", s, mids(kept))
		}
		if s.prev != s.mid {
			first++
		}
	}
	same(t, "callers that were first", first, 1)
	pending, err := f.Pending(t.Context(), 99)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Settle(t.Context(), pending); err != nil {
		t.Fatal(err)
	}
}

func testEqualBodies(t *testing.T, f *fixture, key string) {
	a := f.save1(t, item{key: key, msg: message(`{}`, f.in(time.Hour), "a")})
	b := f.save1(t, item{key: key, msg: message(`{}`, f.in(time.Hour), "b")})
	none1 := f.save1(t, item{key: key, msg: message(`{}`, f.in(time.Hour), ""), retry: true})
	none2 := f.save1(t, item{key: key, msg: message(`{}`, f.in(time.Hour), ""), retry: true})
	same(t, "mids", mids(f.read(t, key, 0).msgs), []int64{a.mid, b.mid, none1.mid, none2.mid})
}

func testSpoof(t *testing.T, f *fixture, key string) {
	tricks := []string{
		`{"mid":1,"nonce":"victim","expire":1,"msg":1}`,
		`{"expire":1}`,
		`",\"nonce\":\"victim\",\"expire\":1}"`,
		`[{"msg":0,"expire":1}]`,
		`"%d %s \\u0000 ]] --"`,
	}
	var want []int64
	for i, body := range tricks {
		want = append(want, f.save1(t, item{key: key, msg: message(body, f.in(time.Hour), fmt.Sprint("n", i))}).mid)
	}
	s := f.save1(t, item{key: key, msg: message(`0`, f.in(time.Hour), "victim"), retry: true})
	if want = append(want, s.mid); s.prev == s.mid {
		t.Error("a body's nonce was taken for a member's")
	}
	got := f.read(t, key, 0)
	same(t, "mids", mids(got.msgs), want)
	same(t, "bodies", bodies(got.msgs), append(tricks, "0"))
	same(t, "nonces", got.msgs[5].Nonce, "victim")
}

func testTrim(t *testing.T, f *fixture, key string) {
	var all []int64
	for i := range keepForTest {
		all = append(all, f.say(t, key, fmt.Sprint(i)))
	}
	same(t, "trimmed while there is room", f.read(t, key, 0).trimmed, 0)
	for i := range 3 {
		all = append(all, f.say(t, key, fmt.Sprint(i)))
	}
	got := f.read(t, key, 0)
	same(t, "kept", mids(got.msgs), all[3:])
	same(t, "trimmed", got.trimmed, all[2])
}

func testKeepFewer(t *testing.T, f *fixture, key string) {
	var all []int64
	for range keepForTest {
		all = append(all, f.say(t, key, `1`))
	}
	f.Keep(5)
	defer f.Keep(keepForTest)
	same(t, "until the next save", len(f.read(t, key, 0).msgs), keepForTest)
	all = append(all, f.say(t, key, `1`))
	got := f.read(t, key, 0)
	same(t, "kept", mids(got.msgs), all[len(all)-5:])
	same(t, "trimmed", got.trimmed, all[len(all)-6])

	low := item{key: key, msg: message(`"low"`, f.in(time.Hour), "")}
	low.msg.Mid = all[0]
	if err := f.Put(t.Context(), []item{low})[0]; err != nil {
		t.Fatal(err)
	}
	got = f.read(t, key, 0)
	same(t, "one below all of them has no room", mids(got.msgs), all[len(all)-5:])
	same(t, "and lowers nothing", got.trimmed, all[len(all)-6])
}

func testTrimCountsLive(t *testing.T, f *fixture, key string) {
	old := f.say(t, key, `"old"`)
	for range keepForTest + 5 { // all of them newer, and gone in a moment
		f.save1(t, item{key: key, msg: message(`"brief"`, f.in(10*time.Second), "")})
	}
	same(t, "trimmed by live ones", f.read(t, key, 0).trimmed > old, true)

	key += "2"
	for range keepForTest / 2 {
		f.save1(t, item{key: key, msg: message(`"brief"`, f.in(10*time.Second), "")})
	}
	old = f.say(t, key, `"old"`)
	f.advance(11 * time.Second)
	for range keepForTest - 1 {
		f.say(t, key, `"new"`)
	}
	got := f.read(t, key, 0)
	same(t, "kept", len(got.msgs), keepForTest)
	same(t, "the oldest live one", got.msgs[0].Mid, old)
	same(t, "trimmed by expiry", got.trimmed, 0)
	f.say(t, key, `"new"`)
	same(t, "trimmed by count", f.read(t, key, 0).trimmed, old)
}

func testExpired(t *testing.T, f *fixture, key string) {
	brief := f.save1(t, item{key: key, msg: message(`"brief"`, f.in(10*time.Second), "")})
	long := f.say(t, key, `"long"`)
	same(t, "before", mids(f.read(t, key, 0).msgs), []int64{brief.mid, long})
	same(t, "expiry", f.read(t, key, 0).msgs[0].Expires, f.in(10*time.Second))
	f.advance(10 * time.Second)
	got := f.read(t, key, 0)
	same(t, "after", mids(got.msgs), []int64{long})
	same(t, "trimmed", got.trimmed, 0)

	late := f.save1(t, item{key: key, msg: message(`"late"`, f.in(-time.Second), "")})
	got = f.read(t, key, 0)
	same(t, "stored too late", mids(got.msgs), []int64{long})
	same(t, "its mid counts", got.last, late.mid)
	f.sweep(t)
	same(t, "after a sweep", mids(f.read(t, key, 0).msgs), []int64{long})
}

// sweep sweeps the whole store.
func (f *fixture) sweep(t *testing.T) {
	t.Helper()
	for quiet := 0; quiet < 8; quiet++ {
		more, err := f.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if more {
			quiet = 0
		}
	}
}

func testReadBounds(t *testing.T, f *fixture, key string) {
	var all []int64
	for i := range 5 {
		all = append(all, f.say(t, key, fmt.Sprint(i)))
	}
	for _, test := range []struct {
		name  string
		after int64
		limit int
		want  []int64
		next  int64
	}{
		{"all", 0, 9, all, 0},
		{"after one", all[1], 9, all[2:], 0},
		{"just before one", all[1] - 1, 9, all[1:], 0},
		{"after the last", all[4], 9, nil, 0},
		{"after everything", math.MaxInt64, 9, nil, 0},
		{"below everything", math.MinInt64, 9, all, 0},
		{"the oldest two", 0, 2, all[:2], all[1]},
		{"none", 0, 0, nil, 0},
	} {
		got := f.Read(t.Context(), []query{{key: key, after: test.after, limit: test.limit}})[0]
		if got.err != nil || !slices.Equal(mids(got.msgs), test.want) || got.last != all[4] || got.next != test.next {
			t.Errorf("%s: got %v, last %d, next %d, %v; want %v, last %d, next %d",
				test.name, mids(got.msgs), got.last, got.next, got.err, test.want, all[4], test.next)
		}
	}
	got := f.Read(t.Context(), []query{{key, all[3], 9}, {key + "none", 0, 9}, {key, all[2], 1}})
	same(t, "a batch", [][]int64{mids(got[0].msgs), mids(got[1].msgs), mids(got[2].msgs)}, [][]int64{all[4:], {}, all[3:4]})
}

func testUnknownKey(t *testing.T, f *fixture, key string) {
	got := f.read(t, key, 0)
	same(t, "messages", len(got.msgs), 0)
	same(t, "last and trimmed", [2]int64{got.last, got.trimmed}, [2]int64{})
	if err := f.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func testRecordOutlivesExpiry(t *testing.T, f *fixture, key string) {
	var all []int64
	for range keepForTest + 1 {
		all = append(all, f.say(t, key, `1`))
	}
	last := all[keepForTest]
	f.advance(time.Hour + recordKept - time.Minute)
	f.sweep(t)
	got := f.read(t, key, 0)
	same(t, "messages", len(got.msgs), 0)
	same(t, "last and trimmed", [2]int64{got.last, got.trimmed}, [2]int64{last, all[0]})
}

func testDelete(t *testing.T, f *fixture, key string) {
	far := f.clock.mid()/mid.Step*mid.Step + 60*mid.Second
	s := f.save1(t, item{key: key, msg: message(`1`, f.in(time.Hour), ""), floor: far})
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	got := f.read(t, key, 0)
	same(t, "messages", len(got.msgs), 0)
	same(t, "last", got.last, s.mid)
	same(t, "the next mid", f.say(t, key, `2`), s.mid+mid.Step)
	same(t, "and its message", bodies(f.read(t, key, 0).msgs), []string{"2"})
}

func testPut(t *testing.T, f *fixture, key string) {
	last := f.say(t, key, `"ours"`)
	odd := []int64{last - 12345, last - 12344, last + 1, last + 3} // neighbours that a double cannot tell apart
	var items []item
	for _, m := range odd {
		it := item{key: key, msg: message(fmt.Sprint(m), f.in(time.Hour), "")}
		it.msg.Mid = m
		items = append(items, it)
	}
	for i, err := range f.Put(t.Context(), items) {
		if err != nil {
			t.Fatalf("put of %d: %v", odd[i], err)
		}
	}
	got := f.read(t, key, 0)
	same(t, "mids", mids(got.msgs), []int64{odd[0], odd[1], last, odd[2], odd[3]})
	same(t, "last", got.last, last+3)
	same(t, "after a neighbour", mids(f.read(t, key, odd[0]).msgs), []int64{odd[1], last, odd[2], odd[3]})
	next := f.save1(t, item{key: key, msg: message(`1`, f.in(time.Hour), "")})
	same(t, "the next of ours", next, saved{mid: last + mid.Step, prev: last + 3})

	// One below a multiple: as a double it is the multiple.
	it := item{key: key, msg: message(`2`, f.in(time.Hour), "")}
	it.msg.Mid = next.mid + 5*mid.Step - 1
	if err := f.Put(t.Context(), []item{it})[0]; err != nil {
		t.Fatal(err)
	}
	same(t, "the next above it", f.say(t, key, `3`), it.msg.Mid+1)
	it.msg.Mid += 100*mid.Step + 2 // one above a multiple
	if err := f.Put(t.Context(), []item{it})[0]; err != nil {
		t.Fatal(err)
	}
	blind := f.save1(t, item{key: key, msg: message(`4`, f.in(time.Hour), ""), floor: mid.Unknown})
	same(t, "blind above it", blind, saved{mid: it.msg.Mid - 1 + mid.Step + mid.Blind, prev: it.msg.Mid})
}

func testPutTaken(t *testing.T, f *fixture, key string) {
	put := func(body string, m, expires int64) error {
		it := item{key: key, msg: message(body, expires, "")}
		it.msg.Mid = m
		return f.Put(t.Context(), []item{it})[0]
	}
	m := f.say(t, key, `"first"`) + 3
	for range 2 {
		if err := put(`"x"`, m, f.in(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "the same twice", len(f.read(t, key, m-1).msgs), 1)
	if err := put(`"x"`, m, f.in(time.Hour)); err != nil {
		t.Fatal(err)
	}
	got := f.read(t, key, m-1).msgs
	same(t, "kept longer", got[0].Expires, f.in(time.Hour))
	same(t, "and still once", len(got), 1)
	if err := put(`"y"`, m, f.in(time.Hour)); !errors.Is(err, errMidTaken) {
		t.Errorf("another message: %v, want errMidTaken", err)
	}
	if err := put(`"y"`, m-3, f.in(time.Hour)); !errors.Is(err, errMidTaken) {
		t.Errorf("over a message of ours: %v, want errMidTaken", err)
	}
	same(t, "payloads", bodies(f.read(t, key, 0).msgs), []string{`"first"`, `"x"`})
}

func testPutFar(t *testing.T, f *fixture, key string) {
	far := mid.Horizon(f.clock.mid()) + 80
	for i := range int64(keepForTest + 2) {
		it := item{key: key, msg: message(`"far"`, f.in(time.Hour), "")}
		it.msg.Mid = far + i*mid.Step
		if err := f.Put(t.Context(), []item{it})[0]; err != nil {
			t.Fatal(err)
		}
	}
	got := f.read(t, key, 0)
	same(t, "served", len(got.msgs), keepForTest)
	same(t, "raises nothing", [2]int64{got.last, got.trimmed}, [2]int64{})
	ours := f.say(t, key, `"ours"`)
	if ours > f.clock.mid()+mid.Second {
		t.Errorf("mid %d lies ahead of the clock", ours)
	}
	got = f.read(t, key, 0)
	same(t, "pushes out nothing of ours", got.msgs[0].Mid, ours)
	same(t, "last", got.last, ours)
}

func testForeignLast(t *testing.T, f *fixture, key string) {
	it := item{key: key, msg: message(`1`, f.in(time.Hour), "")}
	it.msg.Mid = f.clock.mid() + 30*mid.Second + 7
	if err := f.Put(t.Context(), []item{it})[0]; err != nil {
		t.Fatal(err)
	}
	s := f.save1(t, item{key: key, msg: message(`2`, f.in(time.Hour), "")})
	if s.prev != it.msg.Mid || s.mid != mid.Next(it.msg.Mid, 0, 0) {
		t.Errorf("after %d: got %+v", it.msg.Mid, s)
	}
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	same(t, "last after deletion", f.read(t, key, 0).last, s.mid)
}

func testConcurrent(t *testing.T, f *fixture, key string) {
	const workers, each = 64, 4
	var mu sync.Mutex
	prevs := make(map[int64]int64)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			last := int64(0)
			for i := range each {
				s := f.Save(t.Context(), []item{{key: key, msg: message(`"same"`, f.in(time.Hour), fmt.Sprintf("%d-%d", w, i))}})[0]
				if s.err != nil || s.mid <= last || s.mid <= s.prev {
					t.Errorf("worker %d: %+v after %d", w, s, last)
					return
				}
				last = s.mid
				mu.Lock()
				prevs[s.mid] = s.prev
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	same(t, "distinct mids", len(prevs), workers*each)
	// The prevs chain all of them, newest to oldest, with none left out.
	n, at := 0, f.read(t, key, 0).last
	for ; at != 0; n++ {
		prev, ok := prevs[at]
		if !ok {
			t.Fatalf("mid %d was given to nobody", at)
		}
		at = prev
	}
	same(t, "length of the chain", n, workers*each)
	same(t, "kept", len(f.read(t, key, 0).msgs), keepForTest)
}

func testKeys(t *testing.T, f *fixture, key string) {
	keys := []string{
		"a", "ab", "a\x00", "\x00", "a\x00b", "\xff\xff", "a\r\nSET x 1\r\n", "../../etc/passwd", `"'{}[]*?\`,
		"gopush:t:a", "gopush:r:a", "gopush:p", "gopush:m:a", "{tag}x", "ключ", " ", "%s%d", "-1", "$5",
		strings.Repeat("k", 255), strings.Repeat("k", 254), strings.Repeat("\xff", 255),
	}
	for i, k := range keys {
		f.say(t, k, fmt.Sprint(i))
	}
	for i, k := range keys {
		got := f.read(t, k, 0)
		if !slices.Equal(bodies(got.msgs), []string{fmt.Sprint(i)}) {
			t.Errorf("key %q holds %v, want [%d]", k, bodies(got.msgs), i)
		}
		if err := f.Delete(t.Context(), k); err != nil {
			t.Errorf("delete of %q: %v", k, err)
		}
		for _, later := range keys[i+1:] {
			if n := len(f.read(t, later, 0).msgs); n != 1 {
				t.Fatalf("delete of %q left %d messages of %q", k, n, later)
			}
		}
	}
}

func testLargeBody(t *testing.T, f *fixture, key string) {
	body := `"` + strings.Repeat("x", msg.MaxBody-2) + `"`
	for range 3 {
		f.say(t, key, body)
	}
	got := f.read(t, key, 0)
	if len(got.msgs) != 3 || !bytes.Equal(got.msgs[2].Body, []byte(body)) {
		t.Errorf("got %d messages", len(got.msgs))
	}
}

func testPending(t *testing.T, f *fixture, key string) {
	if all, err := f.Pending(t.Context(), 99); err != nil || len(all) != 0 {
		t.Fatalf("at first: %v, %v", all, err)
	}
	it := item{msg: message(`1`, f.in(time.Hour), "n"), floor: mid.Unknown, pending: true, retry: true}
	save := func(name, nonce string) int64 {
		t.Helper()
		it.key, it.msg.Nonce = key+name, nonce
		return f.save1(t, it).mid
	}
	check := func(when string, limit int, want ...peer.PendingKey) {
		t.Helper()
		got, err := f.Pending(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		same(t, when, got, want)
	}
	settle := func(keys ...peer.PendingKey) {
		t.Helper()
		if err := f.Settle(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	old := peer.PendingKey{Key: key + "\x00b", Mid: save("\x00b", "n")}
	f.advance(time.Second)
	other := peer.PendingKey{Key: key + "a", Mid: save("a", "n")}
	f.say(t, key+"c", `"its comet knows"`)
	check("two", 99, old, other)
	check("the oldest", 1, old)

	f.advance(time.Second)
	newer := peer.PendingKey{Key: old.Key, Mid: save("\x00b", "n2")}
	check("with its last mid", 99, other, newer)
	settle(old, other, peer.PendingKey{Key: key + "none", Mid: 80})
	check("what came since stays", 99, newer)
	settle(newer)
	check("all settled", 99)
	settle()

	save("\x00b", "n2")
	check("a repeated save is pending again", 99, newer)
	settle(newer)
}

func testTokens(t *testing.T, f *fixture, key string) {
	check := func(when, secret string, want peer.TokenState, expires ...int64) { // expires: of a live one
		t.Helper()
		got, err := f.CheckToken(t.Context(), key, hashToken(nil, key, secret))
		if err != nil || got.State != want {
			t.Errorf("%s: token %q is %d, %v; want %d", when, secret, got.State, err, want)
		}
		if want != peer.TokenLive && got.Expires != 0 || len(expires) > 0 && got.Expires != expires[0] {
			t.Errorf("%s: token %q ends at %d, want %v", when, secret, got.Expires, expires)
		}
	}
	in := func(d time.Duration) int64 { return f.now().Add(d).Unix() }
	add := func(secret string, life int64) {
		t.Helper()
		if err := f.AddToken(t.Context(), newToken(nil, key, secret, life, f.now())); err != nil {
			t.Fatal(err)
		}
	}
	check("at first", "a", peer.TokenNone)
	add("a", 0)
	check("added", "a", peer.TokenLive, in(tokenLife))
	check("added", "b", peer.TokenOther)
	add("b", 60)
	check("both", "a", peer.TokenLive)
	check("both", "b", peer.TokenLive, in(60*time.Second))
	f.advance(60 * time.Second)
	check("b has ended", "b", peer.TokenOther)
	add("b", 60)
	f.advance(59 * time.Second)
	check("b was added again", "b", peer.TokenLive, in(time.Second))
	f.advance(time.Second)
	check("b is not renewed by use", "b", peer.TokenOther)

	got, err := f.CheckToken(t.Context(), key+"2", hashToken(nil, key+"2", "a"))
	if err != nil || got != (peer.TokenReply{}) {
		t.Errorf("another key: %+v, %v", got, err)
	}
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	check("messages deleted", "a", peer.TokenLive)
	f.advance(tokenLife)
	f.sweep(t)
	check("a has ended", "a", peer.TokenNone)
}

func testTokenRenewal(t *testing.T, f *fixture, key string) {
	if err := f.AddToken(t.Context(), newToken(nil, key, "a", 0, f.now())); err != nil {
		t.Fatal(err)
	}
	var expires int64 // as the last check found it
	live := func(after time.Duration, want peer.TokenState) {
		t.Helper()
		f.advance(after)
		f.sweep(t)
		got, err := f.CheckToken(t.Context(), key, hashToken(nil, key, "a"))
		if err != nil || got.State != want {
			t.Fatalf("after %v: %+v, %v; want %d", after, got, err, want)
		}
		expires = got.Expires
	}
	for range 3 {
		live(tokenLife-time.Second, peer.TokenLive) // each use gives another tokenLife
		if got, want := expires, f.now().Add(tokenLife).Unix(); got != want {
			t.Fatalf("renewed to %d, want %d", got, want)
		}
	}
	live(tokenGain-time.Minute, peer.TokenLive) // this one gains too little to be written
	live(tokenLife-tokenGain+time.Minute, peer.TokenNone)
}

func testTokenLimit(t *testing.T, f *fixture, key string) {
	name := func(i int) string { return fmt.Sprint("token", i) }
	for i := range tokensKept + 2 {
		// The third one ends first, then the second.
		life := int64(3600 + i)
		switch i {
		case 1:
			life = 200
		case 2:
			life = 100
		}
		if err := f.AddToken(t.Context(), newToken(nil, key, name(i), life, f.now())); err != nil {
			t.Fatal(err)
		}
	}
	for i := range tokensKept + 2 {
		want := peer.TokenLive
		if i == 1 || i == 2 {
			want = peer.TokenOther
		}
		got, err := f.CheckToken(t.Context(), key, hashToken(nil, key, name(i)))
		if err != nil || got.State != want {
			t.Errorf("%s: %+v, %v; want %d", name(i), got, err, want)
		}
	}
	// One that is there already takes nobody's place.
	if err := f.AddToken(t.Context(), newToken(nil, key, name(0), 7200, f.now())); err != nil {
		t.Fatal(err)
	}
	if got, err := f.CheckToken(t.Context(), key, hashToken(nil, key, name(3))); err != nil || got.State != peer.TokenLive {
		t.Errorf("%s: %d, %v after a renewal", name(3), got, err)
	}
}

func testOldMembers(t *testing.T, f *fixture, key string) {
	if f.old == nil {
		return // nothing but our own code ever wrote here; Put covers old comets
	}
	now := f.clock.mid()
	expire := fmt.Sprintf(`,"expire":%d}`, f.in(time.Hour))
	plain := now/1000*1000 + 16 // survives a double
	f.old(key, fmt.Sprint(plain), `{"msg":{"a":"<b>"}`+expire)
	f.old(key, fmt.Sprint(plain+16), `{"msg":"gone","expire":`+fmt.Sprint(f.in(-time.Second))+`}`)
	f.old(key, "5", `{"msg":"low"`+expire)
	f.old(key, "12.75", `{"msg":"fraction"`+expire)
	f.old(key, "-3", `{"msg":"negative"`+expire)
	f.old(key, "9223372036854775807", `{"msg":"far"`+expire)
	f.old(key, fmt.Sprint(plain+32), `not JSON`)

	got := f.read(t, key, 0)
	same(t, "bodies", bodies(got.msgs), []string{`"low"`, `"fraction"`, `{"a":"\u003cb\u003e"}`, `"far"`})
	same(t, "mids", mids(got.msgs), []int64{5, 12, plain, math.MaxInt64})
	same(t, "last", got.last, plain+32)
	same(t, "after 12", mids(f.read(t, key, 12).msgs), []int64{plain, math.MaxInt64})

	s := f.save1(t, item{key: key, msg: message(`"ours"`, f.in(time.Hour), "")})
	same(t, "prev", s.prev, plain+32)
	same(t, "beside ours", bodies(f.read(t, key, 12).msgs), []string{`{"a":"\u003cb\u003e"}`, `"ours"`, `"far"`})

	// They make room like ours, and what an old daemon adds later counts too.
	for i := range keepForTest {
		f.say(t, key, fmt.Sprint(i))
	}
	got = f.read(t, key, 0)
	same(t, "kept", len(got.msgs), keepForTest+1) // and the one far ahead
	same(t, "trimmed", got.trimmed, s.mid)
	f.old(key, fmt.Sprint(got.last+160), `{"msg":"later"`+expire)
	same(t, "prev after the old daemon", f.save1(t, item{key: key, msg: message(`1`, f.in(time.Hour), "")}).prev, got.last+160)
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}

	key += "2"
	f.old(key, fmt.Sprint(now/80*80+800), `{"msg":1`+expire)
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	same(t, "last of a deleted key without a record", f.read(t, key, 0).last, now/80*80+800)
}

func testReopen(t *testing.T, f *fixture, key string) {
	m := f.say(t, key, `"kept"`)
	if err := f.AddToken(t.Context(), newToken(nil, key, "a", 0, f.now())); err != nil {
		t.Fatal(err)
	}
	id := item{key: key + "id", msg: message(`"once"`, f.in(time.Hour), "id"), named: true}
	first := f.save1(t, id)
	if err := f.Delete(t.Context(), id.key); err != nil {
		t.Fatal(err)
	}
	f.store = f.reopen()
	same(t, "an id of a message that is gone", f.save1(t, id), saved{mid: first.mid, prev: first.mid})
	got := f.read(t, key, 0)
	same(t, "messages", bodies(got.msgs), []string{`"kept"`})
	same(t, "last", got.last, m)
	same(t, "the next mid", f.say(t, key, `1`), m+mid.Step)
	if s, err := f.CheckToken(t.Context(), key, hashToken(nil, key, "a")); err != nil || s.State != peer.TokenLive {
		t.Errorf("token: %d, %v", s, err)
	}
	if err := f.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func testContext(t *testing.T, f *fixture, key string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	it := item{key: key, msg: message(`1`, f.in(time.Hour), "")}
	if err := f.Save(ctx, []item{it, it})[1].err; !errors.Is(err, errUnavailable) {
		t.Errorf("Save: %v, want errUnavailable", err)
	}
	if err := f.Put(ctx, []item{it})[0]; !errors.Is(err, errUnavailable) {
		t.Errorf("Put: %v, want errUnavailable", err)
	}
	if err := f.Read(ctx, []query{{key: key, limit: 1}})[0].err; !errors.Is(err, errUnavailable) {
		t.Errorf("Read: %v, want errUnavailable", err)
	}
	same(t, "nothing was stored", len(f.read(t, key, 0).msgs), 0)
}
