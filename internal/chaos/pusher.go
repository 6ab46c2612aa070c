package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Pusher is all back-ends together. It begins pushes at an even pace, through any
// of the webs, each in one of the ways of a back-end.
type Pusher struct {
	Pool   *Pool
	Hot    *Pool // keys that get the bursts, and more than is kept for them
	Expire int   // seconds that outlast the run
	Webs   []Web
	HTTP   *http.Client
	Rand   *rand.Rand // its own
	Rate   int        // pushes a second
	Rec    *Recorder

	wg   sync.WaitGroup
	busy chan struct{} // holds one for each push under way
	calm int           // pushes since the last burst
}

const (
	burst   = 20 // pushes to one key at once
	mostTry = 4  // times that a caller pushes with one Idempotency-Key
	// A push takes 2 s where a part of the cluster hangs, and perhaps as long
	// again. More of them than begin in that time are never under way.
	patience = 4 * time.Second
)

// Run pushes until ctx ends. A push that was begun is waited for.
func (p *Pusher) Run(ctx context.Context) {
	p.busy = make(chan struct{}, max(burst, p.Rate*int(patience/time.Second)))
	defer p.wg.Wait()
	next := time.Now()
	for pause(ctx, time.Until(next)) {
		pushes := p.next(ctx)
		for _, push := range pushes {
			p.busy <- struct{}{}
			p.wg.Go(func() {
				defer func() { <-p.busy }()
				push()
			})
		}
		next = next.Add(time.Duration(len(pushes)) * time.Second / time.Duration(p.Rate))
		if late := time.Since(next); late > time.Second { // the machine, or the cluster, cannot follow
			next = next.Add(late)
		}
	}
}

// next decides what is pushed next.
func (p *Pusher) next(ctx context.Context) []func() {
	p.calm++
	web := p.web()
	one := func(expire int, body string) []func() {
		keys := []string{p.Pool.Pick(p.Rand, 1)}
		return []func(){func() { p.push(web, keys, expire, body, "") }}
	}
	switch n := p.Rand.IntN(100); {
	case n < 45:
		return one(p.Expire, p.body("one"))
	case n < 55: // it expires while the run lasts
		return one(1+p.Rand.IntN(8), p.body("brief"))
	case n < 67:
		return one(0, p.body("online"))
	case n < 75: // one that cannot be told from others of its kind
		return one(p.Expire, `{"same":" <always>\u2028& ü "}`)
	case n < 85:
		keys, body := p.some(), p.body("many")
		return []func(){func() { p.push(web, keys, p.Expire, body, "") }}
	case n < 90: // a caller that wants it once, and to know
		keys, body := []string{p.Pool.Pick(p.Rand, 1)}, p.body("named")
		if n < 87 {
			keys = p.some()
		}
		again, rnd := p.Rand.IntN(5) == 0, rand.New(rand.NewPCG(p.Rand.Uint64(), 0))
		return []func(){func() { p.insist(ctx, rnd, keys, body, again) }}
	case p.calm < p.Rate: // the hot keys get a burst a second, whatever the rate
		return one(p.Expire, p.body("one"))
	default:
		p.calm = 0
		var all []func()
		key := p.Hot.Pick(p.Rand, burst)
		for range burst {
			web, body := p.web(), p.body("burst")
			all = append(all, func() { p.push(web, []string{key}, p.Expire, body, "") })
		}
		return all
	}
}

// insist pushes until it is acknowledged, or it has tried often enough, and then,
// where it is to, again.
func (p *Pusher) insist(ctx context.Context, rnd *rand.Rand, keys []string, body string, again bool) {
	id := fmt.Sprintf("named %d", p.Rec.Next("id"))
	for range mostTry {
		if p.push(p.Webs[rnd.IntN(len(p.Webs))], keys, p.Expire, body, id) {
			if !again {
				return
			}
			again = false
		}
		if !pause(ctx, time.Duration(rnd.IntN(500))*time.Millisecond) { // a caller's own pace
			return
		}
	}
}

// some returns keys for one push to many; one may be named twice.
func (p *Pusher) some() []string {
	keys := make([]string, 2+p.Rand.IntN(8))
	for i := range keys {
		keys[i] = p.Pool.Pick(p.Rand, 1)
	}
	return keys
}

func (p *Pusher) web() Web { return p.Webs[p.Rand.IntN(len(p.Webs))] }

// body returns a body that nobody pushes a second time, with white space and
// characters that are escaped on their way.
func (p *Pusher) body(kind string) string {
	return fmt.Sprintf(` {"kind": %q, "no": %d, "text": "<é> & %s"}`, kind, p.Rec.Next("body"), strings.Repeat("x", p.Rand.IntN(100)))
}

// Last pushes a body of its own to key through web and reports whether it was
// acknowledged. Any goroutine.
func (p *Pusher) Last(web Web, key string) bool {
	return p.push(web, []string{key}, p.Expire, fmt.Sprintf(`{"kind":"last","no":%d}`, p.Rec.Next("body")), "")
}

// push makes one push, through another web if that one does not run. Any
// goroutine.
func (p *Pusher) push(web Web, keys []string, expire int, body, id string) bool {
	n := p.Rec.Next(Push)
	target := fmt.Sprintf("/1/admin/push/private?key=%s&expire=%d", url.QueryEscape(keys[0]), expire)
	sent := body
	if len(keys) > 1 {
		many, err := json.Marshal(map[string]string{"m": body, "k": strings.Join(keys, ",")})
		if err != nil {
			panic("chaos: a map of strings does not marshal: " + err.Error())
		}
		target, sent = fmt.Sprintf("/1/admin/push/mprivate?expire=%d", expire), string(many)
	}
	p.Rec.Add(Event{Kind: Push, Push: n, Web: web.Name, Keys: keys, Expire: expire, Body: body, ID: id})
	var a struct {
		Data struct{ FK []string }
		Ret  *int
	}
	e := Event{Kind: Answer, Push: n, Ret: NoAnswer}
	err := p.post(web, target, sent, id, &a)
	for i := 0; i < len(p.Webs) && errors.Is(err, syscall.ECONNREFUSED); i++ { // surely not sent
		err = p.post(p.Webs[i], target, sent, id, &a)
	}
	switch {
	case err != nil:
		e.Note = err.Error()
	case a.Ret == nil:
		e.Note = "an answer without ret"
	default:
		e.Ret, e.Failed = *a.Ret, a.Data.FK
	}
	p.Rec.Add(e)
	return e.Ret == 0 && len(e.Failed) == 0
}

// post sends one request. It has no context: a push under way at the end is
// waited for, within the HTTP client's own time.
func (p *Pusher) post(web Web, target, body, id string, into any) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+web.Admin+target, strings.NewReader(body))
	if err != nil {
		return err
	}
	if id != "" {
		req.Header.Set("Idempotency-Key", id)
	}
	return do(p.HTTP, req, into)
}
