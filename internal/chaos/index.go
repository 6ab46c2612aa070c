package chaos

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// index is a history sorted by what the rules ask for.
type index struct {
	limits  Limits
	pushes  []*push // in the order they began
	keys    map[string]*keyIndex
	sockets []*socket // in the order they opened
	fetches []*fetch  // that were answered with ret 0, in the order of their answers
	gaps    []gap
	steps   []step
	hangs   []*hang
}

// push is one message that a back-end wanted to push, once or, with an
// Idempotency-Key, again and again.
type push struct {
	keys   []string // each once
	many   bool     // it named its keys in a list, and is answered with fk
	body   string   // canonical
	expire time.Duration
	begin  time.Duration // of the first try
	tries  []*try        // one or more
}

// try is one request with its answer.
type try struct {
	id     int
	web    string
	end    time.Duration // of the answer; forever without one
	ret    int
	failed []string
}

const forever = time.Duration(1<<63 - 1)

func (t *try) answered() bool { return t.end != forever && t.ret != NoAnswer }

// promises reports whether the answer promises the message to key.
func (t *try) promises(key string) bool {
	return t.end != forever && t.ret == 0 && !slices.Contains(t.failed, key)
}

// acked reports whether the push was promised for key.
func (p *push) acked(key string) bool { return p.ackedAt(key) != forever }

// ackedAt returns when the push was first promised for key, forever if it was
// not.
func (p *push) ackedAt(key string) time.Duration {
	at := forever
	for _, t := range p.tries {
		if t.promises(key) {
			at = min(at, t.end)
		}
	}
	return at
}

// failedOnce reports whether a try was not acknowledged for key.
func (p *push) failedOnce(key string) bool {
	return slices.ContainsFunc(p.tries, func(t *try) bool { return !t.promises(key) })
}

// owedUntil is before the earliest moment at which the message may expire, as a
// daemon sees it by then whose clock may have stepped: web turns seconds from
// now into an absolute second, rounded either way.
func (x *index) owedUntil(p *push, by time.Duration) time.Duration {
	return p.begin + p.expire - time.Second - x.spread(p.begin, by)
}

// servedUntil is after the latest such moment. Without an answer nobody knows
// when web saw the push.
func (x *index) servedUntil(p *push, by time.Duration) time.Duration {
	last := p.begin
	for _, t := range p.tries {
		if !t.answered() {
			return forever
		}
		last = max(last, t.end)
	}
	return last + p.expire + time.Second + x.spread(p.begin, by)
}

// step is the moment from which on two clocks differ by spread at most.
type step struct{ at, spread time.Duration }

// spread returns how far two clocks were apart at most between from and to. What
// a clock showed a moment before it stepped may still be used.
func (x *index) spread(from, to time.Duration) time.Duration {
	widest := time.Duration(0)
	for i, s := range x.steps {
		if s.at > to {
			break
		}
		if i+1 == len(x.steps) || x.steps[i+1].at+time.Second >= from {
			widest = max(widest, s.spread)
		}
	}
	return widest
}

// gap is a gap that a client was told of: what lies between from and oldest, or
// where oldest is 0 all that was there above from, is gone.
type gap struct {
	client, socket int
	key            string
	from, oldest   int64
	at             time.Duration
}

// covers reports whether the gap tells of p's message, whose mid is m.
func (g gap) covers(p *push, m int64) bool {
	return p.begin < g.at && m > g.from && (g.oldest == 0 || m < g.oldest)
}

// keyIndex is everything about one key.
type keyIndex struct {
	key    string
	pushes []*push           // in the order they began
	stored []*push           // those of them with an expiry
	groups map[string]*group // by body
	bodies map[int64]string  // what each mid stood for when it was first seen
}

// group is all pushes of one body to one key. Most bodies are pushed once, and
// can be told apart by their body alone; equal ones can only be counted.
type group struct {
	key    *keyIndex
	body   string
	pushes []*push
	mids   []int64 // under which it was seen, each once, in the order of sight
}

// single returns the group's one push and the mid under which it was seen, if
// there is exactly one of each.
func (g *group) single() (*push, int64, bool) {
	if len(g.pushes) != 1 || len(g.mids) != 1 {
		return nil, 0, false
	}
	return g.pushes[0], g.mids[0], true
}

// promised returns the first of the group's pushes if every message of the group
// was to be stored, and was promised.
func (g *group) promised() (*push, bool) {
	if len(g.pushes) == 0 {
		return nil, false
	}
	for _, p := range g.pushes {
		if p.expire == 0 || !p.acked(g.key.key) {
			return nil, false
		}
	}
	return g.pushes[0], true
}

// stored reports whether the group's messages may be kept, or nobody pushed them.
func (g *group) stored() bool {
	return len(g.pushes) == 0 || slices.ContainsFunc(g.pushes, func(p *push) bool { return p.expire > 0 })
}

// socket is what one socket saw.
type socket struct {
	id, client    int
	key           string
	resume        bool          // what is above after is to come, with no fetch
	after         int64         // 0 where it does not resume
	asked         time.Duration // to be accepted; +h left its comet after that
	opened, ended time.Duration
	why           string // it ended
	got           []sight
}

// sight is one message at the moment it arrived.
type sight struct {
	Message
	at time.Duration
}

// fetch is one /1/msg/get that was answered.
type fetch struct {
	id, client, socket int
	key                string
	after              int64
	begin, end         time.Duration
	msgs               []Message
}

// arrange sorts events.
func arrange(events []Event, limits Limits) *index {
	x := &index{limits: limits, keys: make(map[string]*keyIndex)}
	tries, named := make(map[int]*try), make(map[string]*push)
	sockets, asked := make(map[int]*socket), make(map[int]time.Duration)
	clocks := make(map[string]time.Duration)
	for _, e := range events {
		switch e.Kind {
		case Push:
			t := &try{id: e.Push, web: e.Web, end: forever}
			tries[e.Push] = t
			if p := named[e.ID]; e.ID != "" && p != nil {
				p.tries = append(p.tries, t)
				continue
			}
			p := &push{
				many: len(e.Keys) > 1, body: canonical(e.Body),
				expire: time.Duration(e.Expire) * time.Second, begin: e.At, tries: []*try{t},
			}
			for _, key := range e.Keys {
				if !slices.Contains(p.keys, key) {
					p.keys = append(p.keys, key)
				}
			}
			named[e.ID] = p
			x.pushes = append(x.pushes, p)
			for _, key := range p.keys {
				k := x.key(key)
				k.pushes = append(k.pushes, p)
				if p.expire > 0 {
					k.stored = append(k.stored, p)
				}
				g := k.group(p.body)
				g.pushes = append(g.pushes, p)
			}
		case Answer:
			if t := tries[e.Push]; t != nil {
				t.end, t.ret, t.failed = e.At, e.Ret, e.Failed
			}
		case Hang:
			x.hang(e)
		case Clock:
			clocks[e.Note] = e.Off
			least, most := time.Duration(0), time.Duration(0)
			for _, off := range clocks {
				least, most = min(least, off), max(most, off)
			}
			x.steps = append(x.steps, step{e.At, most - least})
		case Gap:
			x.gaps = append(x.gaps, gap{e.Client, e.Socket, e.Key, e.Mid, e.Oldest, e.At})
		case Open:
			s := &socket{id: e.Socket, client: e.Client, key: e.Key, resume: e.Resume, after: e.Mid, asked: e.At - e.Took, opened: e.At, ended: forever}
			sockets[s.id] = s
			x.sockets = append(x.sockets, s)
		case Recv:
			if s := sockets[e.Socket]; s != nil {
				for _, m := range e.Msgs {
					s.got = append(s.got, sight{m, e.At})
					x.key(e.Key).saw(m)
				}
			}
		case Close:
			if s := sockets[e.Socket]; s != nil {
				s.ended, s.why = e.At, e.Note
			}
		case Ask:
			asked[e.Fetch] = e.At
		case Got:
			if e.Ret != 0 {
				continue
			}
			x.fetches = append(x.fetches, &fetch{
				id: e.Fetch, client: e.Client, socket: e.Socket, key: e.Key, after: e.Mid,
				begin: asked[e.Fetch], end: e.At, msgs: e.Msgs,
			})
			for _, m := range e.Msgs {
				x.key(e.Key).saw(m)
			}
		}
	}
	return x
}

func (x *index) key(key string) *keyIndex {
	k := x.keys[key]
	if k == nil {
		k = &keyIndex{key: key, groups: make(map[string]*group), bodies: make(map[int64]string)}
		x.keys[key] = k
	}
	return k
}

func (k *keyIndex) group(body string) *group {
	g := k.groups[body]
	if g == nil {
		g = &group{key: k, body: body}
		k.groups[body] = g
	}
	return g
}

// saw notes that m was seen on the key.
func (k *keyIndex) saw(m Message) {
	if _, ok := k.bodies[m.Mid]; !ok {
		k.bodies[m.Mid] = m.Body
	}
	if g := k.group(m.Body); !slices.Contains(g.mids, m.Mid) {
		g.mids = append(g.mids, m.Mid)
	}
}

// canonical returns body as docs/protocol.md says that it arrives: compact, and
// escaped as encoding/json escapes. What is no JSON comes back as it is.
func canonical(body string) string {
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, []byte(body)); err != nil {
		return body
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	return escaped.String()
}
