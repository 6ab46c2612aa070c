package chaos

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testLimits = Limits{Store: 3, Hold: time.Second, Late: 5 * time.Second}

// script makes a history by hand, one event a tick.
type script struct {
	events []Event
	now    time.Duration
}

func (s *script) add(e Event) *script {
	s.now += 10 * time.Millisecond
	e.At = s.now
	s.events = append(s.events, e)
	return s
}

func (s *script) wait(d time.Duration) *script { s.now += d; return s }

func (s *script) begin(id int, key, body string, expire int) *script {
	return s.add(Event{Kind: Push, Push: id, Web: "web1", Keys: strings.Split(key, ","), Expire: expire, Body: body})
}

func (s *script) answer(id, ret int, failed ...string) *script {
	return s.add(Event{Kind: Answer, Push: id, Ret: ret, Failed: failed})
}

// push is a push for ten minutes that is acknowledged.
func (s *script) push(id int, key, body string) *script {
	return s.begin(id, key, body, 600).answer(id, 0)
}

func (s *script) open(socket int, key string) *script {
	return s.add(Event{Kind: Open, Client: socket, Socket: socket, Key: key, Note: "tcp"})
}

// resume opens a socket that is to get what is above after.
func (s *script) resume(socket, client int, key string, after int64) *script {
	return s.add(Event{Kind: Open, Client: client, Socket: socket, Key: key, Resume: true, Mid: after})
}

func (s *script) gap(socket, client int, key string, from, oldest int64) *script {
	return s.add(Event{Kind: Gap, Client: client, Socket: socket, Key: key, Mid: from, Oldest: oldest})
}

// try is a push for ten minutes with an Idempotency-Key, or its repetition.
func (s *script) try(id int, key, body, name string) *script {
	return s.add(Event{Kind: Push, Push: id, Web: "web1", Keys: strings.Split(key, ","), Expire: 600, Body: body, ID: name})
}

func (s *script) clock(daemon string, off time.Duration) *script {
	return s.add(Event{Kind: Clock, Note: daemon, Off: off})
}

func (s *script) recv(socket int, key string, mid int64, body string) *script {
	return s.add(Event{Kind: Recv, Client: socket, Socket: socket, Key: key, Msgs: []Message{{Mid: mid, Body: body}}})
}

// fetch asks from mid 0, for nobody.
func (s *script) fetch(id int, key string, msgs ...Message) *script {
	return s.fetchBy(id, 0, key, 0, msgs...)
}

// fetchBy asks for a client on its socket of the same number.
func (s *script) fetchBy(id, client int, key string, after int64, msgs ...Message) *script {
	s.add(Event{Kind: Ask, Fetch: id, Client: client, Socket: client, Key: key, Mid: after})
	return s.add(Event{Kind: Got, Fetch: id, Client: client, Socket: client, Key: key, Mid: after, Msgs: msgs})
}

// hung has a store hang for 20 s, while 40 things are done in turn.
func hung(do func(i int, s *script)) *script {
	s := new(script).add(Event{Kind: Hang, Note: "redis1"}).wait(2 * time.Second)
	for i := range 40 {
		do(i+1, s)
	}
	return s.wait(20 * time.Second).add(Event{Kind: Hang})
}

func m(mid int64, body string) Message { return Message{Mid: mid, Body: body} }

func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		s    *script
		want []string // invariants, sorted; none: a good history
	}{
		{"a good day", new(script).
			open(1, "k").fetchBy(1, 1, "k", 0).
			push(1, "k", `1`).recv(1, "k", 80, `1`).
			begin(2, "k", ` { "a" : "<" } `, 600).recv(1, "k", 160, `{"a":"\u003c"}`).answer(2, 0).
			begin(3, "k", `3`, 0).recv(1, "k", 240, `3`).answer(3, 0).
			begin(4, "k,l,l", `4`, 600).answer(4, 0, "l").recv(1, "k", 320, `4`).
			fetch(2, "k", m(80, `1`), m(160, `{"a":"\u003c"}`), m(320, `4`)).
			fetch(3, "l"), nil},

		{"I1 a promised message is not there", new(script).
			push(1, "k", `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`)), []string{"I1"}},
		{"I1 of two equal ones one is not there", new(script).
			push(1, "k", `1`).push(2, "k", `1`).fetch(1, "k", m(80, `1`)), []string{"I1"}},
		{"I1 nor in a fetch from a mid below it", new(script).
			push(1, "k", `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).fetchBy(2, 0, "k", 80), []string{"I1"}},
		{"I1 missing, with an older one there, though many are newer", new(script).
			push(1, "k", `1`).push(2, "k", `2`).push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).
			fetch(1, "k", m(80, `1`), m(160, `2`), m(240, `3`), m(320, `4`), m(400, `5`)).
			fetch(2, "k", m(80, `1`), m(240, `3`), m(320, `4`), m(400, `5`)), []string{"I1"}},
		{"pushed out by newer ones", new(script).
			push(1, "k", `1`).push(2, "k", `2`).push(3, "k", `3`).push(4, "k", `4`).
			fetch(1, "k", m(160, `2`), m(240, `3`), m(320, `4`)), nil},
		{"fetched before its answer", new(script).
			begin(1, "k", `1`, 600).fetch(1, "k").answer(1, 0), nil},
		{"a failed push may be there or not", new(script).
			begin(1, "k", `1`, 600).answer(1, 65535).begin(2, "k", `2`, 600).answer(2, NoAnswer).begin(3, "k", `3`, 600).
			fetch(1, "k", m(80, `2`)), nil},

		{"I2 two payloads under one mid", new(script).
			open(1, "k").push(1, "k", `1`).push(2, "k", `2`).recv(1, "k", 80, `1`).
			fetch(1, "k", m(80, `2`), m(160, `1`)), []string{"I2", "I5"}},

		{"I2 one of them not stored", new(script).
			open(1, "k").push(1, "k", `1`).begin(2, "k", `2`, 0).recv(1, "k", 80, `2`).answer(2, 0).
			fetch(1, "k", m(80, `1`)), []string{"I2"}},
		{"neither of them stored", new(script).
			open(1, "k").begin(1, "k", `1`, 0).recv(1, "k", 80, `1`).answer(1, 0).
			open(2, "k").begin(2, "k", `2`, 0).recv(2, "k", 80, `2`).answer(2, 0), nil},

		{"I3 mids fall on a socket", new(script).
			open(1, "k").begin(1, "k", `1`, 600).begin(2, "k", `2`, 600).recv(1, "k", 160, `1`).recv(1, "k", 80, `2`).
			answer(1, 0).answer(2, 0), []string{"I3"}},
		{"I3 mids fall in a fetch", new(script).
			begin(1, "k", `1`, 600).begin(2, "k", `2`, 600).answer(1, 0).answer(2, 0).
			fetch(1, "k", m(160, `1`), m(80, `2`)), []string{"I3"}},
		{"I3 a fetch shows what it was asked to leave out", new(script).
			push(1, "k", `1`).fetchBy(1, 0, "k", 80, m(80, `1`)), []string{"I3"}},
		{"I3 a later push has the smaller mid", new(script).
			push(1, "k", `1`).push(2, "k", `2`).fetch(1, "k", m(80, `2`), m(160, `1`)), []string{"I3"}},
		{"a push that is not stored may lie below", new(script).
			open(1, "k").push(1, "k", `1`).begin(2, "k", `2`, 0).recv(1, "k", 80, `2`).answer(2, 0).recv(1, "k", 160, `1`), nil},
		{"pushes side by side come in any order", new(script).
			begin(1, "k", `1`, 600).begin(2, "k", `2`, 600).answer(1, 0).answer(2, 0).
			fetch(1, "k", m(80, `2`), m(160, `1`)), nil},

		{"I4 a live message overtakes the fetch", new(script).
			open(1, "k").push(1, "k", `1`).push(2, "k", `2`).recv(1, "k", 160, `2`).
			fetchBy(1, 1, "k", 0, m(80, `1`), m(160, `2`)), []string{"I4"}},
		{"I4 a message is left out in the middle of a session", new(script).
			open(1, "k").fetchBy(1, 1, "k", 0).push(1, "k", `1`).push(2, "k", `2`).push(3, "k", `3`).
			recv(1, "k", 80, `1`).recv(1, "k", 240, `3`).
			fetch(2, "k", m(80, `1`), m(160, `2`), m(240, `3`)), []string{"I4"}},
		{"a fetch that took longer than the hold is promised nothing", new(script).
			open(1, "k").push(1, "k", `1`).push(2, "k", `2`).wait(2*time.Second).recv(1, "k", 160, `2`).
			fetchBy(1, 1, "k", 0, m(80, `1`), m(160, `2`)), nil},
		{"nor is one that heard late that it was accepted", new(script).
			add(Event{Kind: Open, Client: 1, Socket: 1, Key: "k", Took: 2 * time.Second}).push(1, "k", `1`).push(2, "k", `2`).recv(1, "k", 160, `2`).
			fetchBy(1, 1, "k", 0, m(80, `1`), m(160, `2`)), nil},
		{"what expired before the client came back is no gap", new(script).
			open(1, "k").begin(1, "k", `1`, 2).answer(1, 0).fetch(1, "k", m(80, `1`)).wait(5*time.Second).
			open(2, "k").fetchBy(2, 2, "k", 0).push(2, "k", `2`).recv(2, "k", 160, `2`), nil},

		{"I4 one of two equal messages is left out", new(script).
			open(1, "k").fetchBy(1, 1, "k", 0).push(1, "k", `1`).push(2, "k", `1`).push(3, "k", `3`).
			recv(1, "k", 80, `1`).recv(1, "k", 240, `3`).
			fetch(2, "k", m(80, `1`), m(160, `1`), m(240, `3`)), []string{"I4"}},
		{"of two equal messages one failed", new(script).
			open(1, "k").fetchBy(1, 1, "k", 0).push(1, "k", `1`).begin(2, "k", `1`, 600).answer(2, 65535).push(3, "k", `3`).
			recv(1, "k", 80, `1`).recv(1, "k", 240, `3`).
			fetch(2, "k", m(80, `1`), m(160, `1`), m(240, `3`)), nil},

		{"resumed", new(script).
			push(1, "k", `1`).push(2, "k", `2`).resume(1, 1, "k", 80).recv(1, "k", 160, `2`).push(3, "k", `3`).recv(1, "k", 240, `3`), nil},
		{"I4 a resumed client misses one at the beginning", new(script).
			push(1, "k", `1`).push(2, "k", `2`).resume(1, 1, "k", 0).recv(1, "k", 160, `2`).
			fetch(1, "k", m(80, `1`), m(160, `2`)), []string{"I4"}},
		{"I4 a resumed client misses one later, in its time", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).push(2, "k", `2`).push(3, "k", `3`).recv(1, "k", 80, `1`).
			wait(3*time.Second).recv(1, "k", 240, `3`).fetch(1, "k", m(80, `1`), m(160, `2`), m(240, `3`)), []string{"I4"}},
		{"I4 what is pushed out is not told", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).
			push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).
			resume(2, 1, "k", 80).recv(2, "k", 240, `3`).recv(2, "k", 320, `4`).recv(2, "k", 400, `5`), []string{"I4"}},
		{"what is pushed out is told", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).
			push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).
			resume(2, 1, "k", 80).gap(2, 1, "k", 80, 240).recv(2, "k", 240, `3`).recv(2, "k", 320, `4`).recv(2, "k", 400, `5`), nil},
		{"all of it is pushed out, and expired", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).
			begin(3, "k", `3`, 1).answer(3, 0).begin(4, "k", `4`, 1).answer(4, 0).begin(5, "k", `5`, 1).answer(5, 0).wait(3*time.Second).
			resume(2, 1, "k", 80).gap(2, 1, "k", 80, 0).push(6, "k", `6`).recv(2, "k", 480, `6`), nil},
		{"who comes with mid 0 is told of no gap", new(script).
			push(1, "k", `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).
			resume(1, 1, "k", 0).recv(1, "k", 240, `3`).recv(1, "k", 320, `4`).recv(1, "k", 400, `5`), nil},
		{"I4 the gap is told when it is too late", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).
			push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).
			resume(2, 1, "k", 80).recv(2, "k", 240, `3`).gap(2, 1, "k", 80, 240).recv(2, "k", 320, `4`).recv(2, "k", 400, `5`), []string{"I4"}},
		{"I4 the gap that is told is another", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).push(3, "k", `3`).
			fetch(1, "k", m(80, `1`), m(160, `2`), m(240, `3`)).push(4, "k", `4`).push(5, "k", `5`).push(6, "k", `6`).
			resume(2, 1, "k", 80).gap(2, 1, "k", 80, 240).recv(2, "k", 320, `4`).recv(2, "k", 400, `5`), []string{"I4"}},
		{"I4 another client was told", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).fetch(1, "k", m(80, `1`), m(160, `2`)).
			push(3, "k", `3`).push(4, "k", `4`).push(5, "k", `5`).resume(3, 2, "k", 80).gap(3, 2, "k", 80, 240).recv(3, "k", 240, `3`).
			resume(2, 1, "k", 80).recv(2, "k", 240, `3`).recv(2, "k", 320, `4`).recv(2, "k", 400, `5`), []string{"I4"}},
		{"I4 a gap is told that is none", new(script).
			resume(1, 1, "k", 0).push(1, "k", `1`).recv(1, "k", 80, `1`).push(2, "k", `2`).
			resume(2, 1, "k", 80).gap(2, 1, "k", 80, 160).recv(2, "k", 160, `2`), []string{"I4"}},
		{"I3 a resumed socket shows what the client has", new(script).
			push(1, "k", `1`).push(2, "k", `2`).resume(1, 1, "k", 80).recv(1, "k", 80, `1`).recv(1, "k", 160, `2`), []string{"I3"}},

		{"I5 nobody pushed it", new(script).
			open(1, "k").recv(1, "k", 80, `1`), []string{"I5"}},
		{"I5 it was pushed to another key", new(script).
			open(1, "k").push(1, "l", `1`).recv(1, "k", 80, `1`).fetch(1, "l", m(80, `1`)), []string{"I5"}},
		{"I5 it was pushed later", new(script).
			open(1, "k").recv(1, "k", 80, `1`).push(1, "k", `1`), []string{"I5"}},
		{"I5 it is not what was pushed, byte for byte", new(script).
			open(1, "k").push(1, "k", `{"a":1}`).recv(1, "k", 80, `{"a": 1}`), []string{"I5"}},
		{"I5 one promised push is stored twice", new(script).
			push(1, "k", `1`).fetch(1, "k", m(80, `1`), m(160, `1`)), []string{"I5"}},

		{"two comets give what is not stored a mid each", new(script).
			open(1, "k").open(2, "k").begin(1, "k", `1`, 0).recv(1, "k", 80, `1`).recv(2, "k", 160, `1`).answer(1, 0), nil},
		{"I5 and one client gets both", new(script).
			resume(1, 1, "k", 0).begin(1, "k", `1`, 0).recv(1, "k", 80, `1`).resume(2, 1, "k", 80).recv(2, "k", 160, `1`).answer(1, 0), []string{"I5"}},

		{"I6 a mid comes twice on a socket", new(script).
			open(1, "k").push(1, "k", `1`).recv(1, "k", 80, `1`).recv(1, "k", 80, `1`), []string{"I6"}},
		{"I6 a message comes twice, under two mids", new(script).
			open(1, "k").push(1, "k", `1`).recv(1, "k", 80, `1`).recv(1, "k", 160, `1`), []string{"I5", "I6"}},
		{"on two sockets, and in a fetch, it is welcome", new(script).
			open(1, "k").open(2, "k").push(1, "k", `1`).recv(1, "k", 80, `1`).recv(2, "k", 80, `1`).fetch(1, "k", m(80, `1`)), nil},

		{"I7 a failed push is there twice", new(script).
			begin(1, "k", `1`, 600).answer(1, 65535).fetch(1, "k", m(80, `1`), m(160, `1`)), []string{"I7"}},

		{"tried again after no answer", new(script).
			open(1, "k").try(1, "k", `1`, "a").answer(1, NoAnswer).try(2, "k", `1`, "a").answer(2, 0).recv(1, "k", 80, `1`).
			fetch(1, "k", m(80, `1`)), nil},
		{"I7 tried again after no answer, and there twice", new(script).
			try(1, "k", `1`, "a").answer(1, NoAnswer).try(2, "k", `1`, "a").answer(2, 0).fetch(1, "k", m(80, `1`), m(160, `1`)), []string{"I7"}},
		{"I7 the second try has another mid than the first", new(script).
			open(1, "k").try(1, "k", `1`, "a").recv(1, "k", 80, `1`).answer(1, 65535).try(2, "k", `1`, "a").answer(2, 0).
			fetch(1, "k", m(160, `1`)), []string{"I7"}},
		{"I7 tried again for one of two keys", new(script).
			try(1, "k,l", `1`, "a").answer(1, 0, "l").try(2, "k,l", `1`, "a").answer(2, 0).
			fetch(1, "k", m(80, `1`)).fetch(2, "l", m(80, `1`), m(160, `1`)), []string{"I7"}},
		{"I5 tried again after a promise, and there twice", new(script).
			try(1, "k", `1`, "a").answer(1, 0).try(2, "k", `1`, "a").answer(2, 0).fetch(1, "k", m(80, `1`), m(160, `1`)), []string{"I5"}},
		{"I1 promised at the second try", new(script).
			try(1, "k", `1`, "a").answer(1, 65535).try(2, "k", `1`, "a").answer(2, 0).fetch(1, "k"), []string{"I1"}},
		{"I1 promised at the first", new(script).
			try(1, "k", `1`, "a").answer(1, 0).try(2, "k", `1`, "a").fetch(1, "k").answer(2, NoAnswer), []string{"I1"}},
		{"I6 tried again, and twice on a socket", new(script).
			open(1, "k").try(1, "k", `1`, "a").answer(1, NoAnswer).try(2, "k", `1`, "a").answer(2, 0).
			recv(1, "k", 80, `1`).recv(1, "k", 160, `1`), []string{"I6", "I7"}},
		{"the same with other names are two", new(script).
			try(1, "k", `1`, "a").answer(1, NoAnswer).try(2, "k", `1`, "b").answer(2, 0).fetch(1, "k", m(80, `1`), m(160, `1`)), nil},

		{"I8 fk names a stranger", new(script).
			begin(1, "k,l", `1`, 600).answer(1, 0, "x"), []string{"I8"}},
		{"I8 fk names a key twice", new(script).
			begin(1, "k,l", `1`, 600).answer(1, 0, "l", "l"), []string{"I8"}},
		{"I8 fk does not name a key that failed", new(script).
			begin(1, "k,l", `1`, 600).answer(1, 0, "k").fetch(1, "l"), []string{"I1", "I8"}},

		{"I9 an expired message is served", new(script).
			begin(1, "k", `1`, 2).answer(1, 0).wait(4*time.Second).fetch(1, "k", m(80, `1`)), []string{"I9"}},
		{"I9 on a socket, long after", new(script).
			open(1, "k").begin(1, "k", `1`, 2).answer(1, 0).wait(10*time.Second).recv(1, "k", 80, `1`), []string{"I9"}},
		{"I9 what was only for who is online is stored", new(script).
			begin(1, "k", `1`, 0).answer(1, 0).fetch(1, "k", m(80, `1`)), []string{"I9"}},
		{"a clock that is ahead lets it expire before its time", new(script).
			begin(1, "k", `1`, 8).answer(1, 0).clock("message1", 10*time.Second).fetch(1, "k"), nil},
		{"I1 a clock that steps later does not", new(script).
			begin(1, "k", `1`, 8).answer(1, 0).fetch(1, "k").clock("message1", 10*time.Second), []string{"I1"}},
		{"a clock that is behind serves it for longer", new(script).
			clock("message1", -10*time.Second).begin(1, "k", `1`, 2).answer(1, 0).wait(11*time.Second).fetch(1, "k", m(80, `1`)), nil},
		{"a web ahead and a message behind, for longer still", new(script).
			clock("message1", -10*time.Second).clock("web1", 10*time.Second).begin(1, "k", `1`, 2).answer(1, 0).
			wait(20*time.Second).fetch(1, "k", m(80, `1`)), nil},
		{"and one that steps back while it is asked", new(script).
			begin(1, "k", `1`, 2).answer(1, 0).wait(4*time.Second).add(Event{Kind: Ask, Fetch: 1, Key: "k"}).clock("message1", -10*time.Second).
			add(Event{Kind: Got, Fetch: 1, Key: "k", Msgs: []Message{m(80, `1`)}}), nil},
		{"I9 but not for ever", new(script).
			clock("message1", -10*time.Second).begin(1, "k", `1`, 2).answer(1, 0).wait(15*time.Second).fetch(1, "k", m(80, `1`)), []string{"I9"}},
		{"I9 nor when the clocks were right again long before", new(script).
			clock("message1", -10*time.Second).clock("message1", 0).wait(5*time.Second).
			begin(1, "k", `1`, 2).answer(1, 0).wait(4*time.Second).fetch(1, "k", m(80, `1`)), []string{"I9"}},
		{"a store hangs and fails its own keys", hung(func(i int, s *script) {
			s.begin(i, []string{"k", "l"}[i%2], fmt.Sprint(i), 600).answer(i, 65535*(i%2))
		}), nil},
		{"hang it fails the others' too", hung(func(i int, s *script) {
			s.begin(i, []string{"k", "l"}[i%2], fmt.Sprint(i), 600).answer(i, 65535)
		}), []string{"hang"}},
		{"hang a push waits", hung(func(i int, s *script) {
			s.begin(i, "k", fmt.Sprint(i), 600)
			if i != 7 {
				s.answer(i, 0)
			}
		}), []string{"hang"}},
		{"hang a heartbeat waits", hung(func(i int, s *script) {
			if i == 1 {
				s.open(1, "k")
			}
			s.begin(i, "k", fmt.Sprint(i), 0).answer(i, 0)
			if i == 20 {
				s.add(Event{Kind: Close, Client: 1, Socket: 1, Key: "k", Note: "read tcp: i/o timeout"})
			}
		}), []string{"hang"}},
		{"about to expire it may be there or not", new(script).
			begin(1, "k", `1`, 2).answer(1, 0).begin(2, "k", `2`, 2).answer(2, 0).wait(1500*time.Millisecond).
			fetch(1, "k", m(80, `1`)), nil},
		{"nobody knows when a push without an answer expires", new(script).
			begin(1, "k", `1`, 2).answer(1, NoAnswer).wait(4*time.Second).fetch(1, "k", m(80, `1`)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Check(tt.s.events, testLimits)
			got := slices.Sorted(maps.Keys(r.Count()))
			if !slices.Equal(got, tt.want) {
				t.Errorf("broken are %q, want %q", got, tt.want)
				for _, v := range r.Violations {
					t.Log(v)
				}
			}
			for _, v := range r.Violations {
				if Story(tt.s.events, v) == "" {
					t.Errorf("no story of %v", v)
				}
			}
		})
	}
}

func TestReportCounts(t *testing.T) {
	s := new(script).
		open(1, "k").push(1, "k", `1`).recv(1, "k", 80, `1`).
		begin(2, "k,l", `2`, 600).answer(2, 0, "l").
		begin(3, "k", `3`, 600).answer(3, NoAnswer).
		fetch(1, "k", m(80, `1`), m(160, `2`))
	want := "3 pushes: 2 promised, 1 refused, 1 without an answer, 0 tried again; 1 sockets: 1 messages, 0 gaps; 1 fetches: 2 messages"
	if got := Check(s.events, testLimits).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestStory proves that a story has what matters and nothing else.
func TestStory(t *testing.T) {
	s := new(script).
		add(Event{Kind: Fault, Note: "kill comet1"}).
		open(1, "k").open(2, "other").
		push(1, "k", `"one"`).push(2, "other", `"two"`).push(3, "k", `"three"`).
		recv(2, "other", 80, `"two"`).recv(1, "k", 80, `"three"`).recv(1, "k", 160, `"one"`).recv(1, "k", 160, `"one"`).
		wait(time.Hour).add(Event{Kind: Fault, Note: "kill comet2"})
	r := Check(s.events, testLimits)
	i := slices.IndexFunc(r.Violations, func(v Violation) bool { return v.Invariant == "I6" })
	if i < 0 {
		t.Fatalf("violations %v, want an I6", r.Violations)
	}
	story := Story(s.events, r.Violations[i])
	for _, want := range []string{"kill comet1", `push 1 begins by web1 to ["k"], expire 600: "one"`, "push 1 is answered: ret 0", `client 1 gets on socket 1 · mid 160 "one"`, "socket 1 of client 1: open: tcp"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	for _, not := range []string{"two", "three", "kill comet2"} {
		if strings.Contains(story, not) {
			t.Errorf("the story tells of %q", not)
		}
	}
	if t.Failed() {
		t.Log("\n" + story)
	}
}

// TestHistoryComesBack writes a history and reads it.
func TestHistoryComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	want := new(script).begin(r.Next(Push), "k,l", `{"a":"<\u2028"}`, 600).answer(r.Next(Push), 65535, "k").
		open(r.Next(Open), "k").recv(1, "k", 1<<62, `"é"`).fetch(r.Next(Ask), "k", m(80, `1`)).events
	for _, e := range want {
		r.Add(e)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if i > 0 && got[i].At < got[i-1].At {
			t.Errorf("event %d at %v, after one at %v", i, got[i].At, got[i-1].At)
		}
		got[i].At, want[i].At = 0, 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	if want[0].Push != 1 || want[1].Push != 2 || want[2].Socket != 1 || want[4].Fetch != 1 {
		t.Errorf("numbers do not begin at 1, or are not each kind's own: %+v", want)
	}
}
