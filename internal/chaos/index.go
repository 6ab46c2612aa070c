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
}

// push is one push with its answer.
type push struct {
	id         int
	keys       []string // each once
	many       bool     // it named its keys in a list, and is answered with fk
	body       string   // canonical
	expire     time.Duration
	begin, end time.Duration // end: of the answer; forever without one
	ret        int
	failed     []string
}

const forever = time.Duration(1<<63 - 1)

// acked reports whether the push was promised for key.
func (p *push) acked(key string) bool {
	return p.end != forever && p.ret == 0 && !slices.Contains(p.failed, key)
}

// owedUntil is before the earliest moment at which the message may expire: web
// turns seconds from now into an absolute second, rounded either way.
func (p *push) owedUntil() time.Duration { return p.begin + p.expire - time.Second }

// servedUntil is after the latest such moment. Without an answer nobody knows
// when web saw the push.
func (p *push) servedUntil() time.Duration {
	if p.end == forever || p.ret == NoAnswer {
		return forever
	}
	return p.end + p.expire + time.Second
}

// keyIndex is everything about one key.
type keyIndex struct {
	key    string
	pushes []*push           // in the order they began
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

// stored reports whether the group's messages may be kept, or nobody pushed them.
func (g *group) stored() bool {
	return len(g.pushes) == 0 || slices.ContainsFunc(g.pushes, func(p *push) bool { return p.expire > 0 })
}

// socket is what one socket saw.
type socket struct {
	id, client    int
	key           string
	opened, ended time.Duration
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
	pushes, sockets, asked := make(map[int]*push), make(map[int]*socket), make(map[int]time.Duration)
	for _, e := range events {
		switch e.Kind {
		case Push:
			p := &push{
				id: e.Push, many: len(e.Keys) > 1, body: canonical(e.Body),
				expire: time.Duration(e.Expire) * time.Second, begin: e.At, end: forever,
			}
			for _, key := range e.Keys {
				if !slices.Contains(p.keys, key) {
					p.keys = append(p.keys, key)
				}
			}
			pushes[p.id] = p
			x.pushes = append(x.pushes, p)
			for _, key := range p.keys {
				k := x.key(key)
				k.pushes = append(k.pushes, p)
				g := k.group(p.body)
				g.pushes = append(g.pushes, p)
			}
		case Answer:
			if p := pushes[e.Push]; p != nil {
				p.end, p.ret, p.failed = e.At, e.Ret, e.Failed
			}
		case Open:
			s := &socket{id: e.Socket, client: e.Client, key: e.Key, opened: e.At, ended: forever}
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
				s.ended = e.At
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
