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

// Pusher is a back-end. It pushes to keys through any of the webs until its
// context ends, each time in one of the ways of a back-end.
type Pusher struct {
	Keys  []string
	Hot   string // one more key, which gets the bursts
	Webs  []Web
	HTTP  *http.Client
	Rand  *rand.Rand    // its own
	Pause time.Duration // between pushes, about
	Rec   *Recorder
}

// burst is how many pushes go to the hot key at once.
const burst = 20

// Run pushes until ctx ends. A push that was begun is waited for.
func (p *Pusher) Run(ctx context.Context) {
	for pause(ctx, p.Pause/2+time.Duration(p.Rand.Int64N(int64(p.Pause)))) {
		switch n := p.Rand.IntN(100); {
		case n < 50:
			p.One(p.key(), 600, "one")
		case n < 60: // it expires while the run lasts
			p.One(p.key(), 1+p.Rand.IntN(8), "brief")
		case n < 75:
			p.One(p.key(), 0, "online")
		case n < 85: // one that cannot be told from others of its kind
			p.push(p.web(), []string{p.key()}, 600, `{"same":" <always>\u2028& ü "}`)
		case n < 97:
			keys := make([]string, 2+p.Rand.IntN(8)) // a key may be named twice
			for i := range keys {
				keys[i] = p.key()
			}
			p.push(p.web(), keys, 600, p.body("many"))
		default:
			var wg sync.WaitGroup
			for range burst {
				web, body := p.web(), p.body("burst")
				wg.Go(func() { p.push(web, []string{p.Hot}, 600, body) })
			}
			wg.Wait()
		}
	}
}

func (p *Pusher) key() string { return p.Keys[p.Rand.IntN(len(p.Keys))] }
func (p *Pusher) web() Web    { return p.Webs[p.Rand.IntN(len(p.Webs))] }

// body returns a body that nobody pushes a second time, with white space and
// characters that are escaped on their way.
func (p *Pusher) body(kind string) string {
	return fmt.Sprintf(` {"kind": %q, "no": %d, "text": "<é> & %s"}`, kind, p.Rec.Next("body"), strings.Repeat("x", p.Rand.IntN(200)))
}

// One pushes a body of its own to key and reports whether it was acknowledged.
func (p *Pusher) One(key string, expire int, kind string) bool {
	return p.push(p.web(), []string{key}, expire, p.body(kind))
}

// push makes one push, through another web if that one does not run. Any
// goroutine.
func (p *Pusher) push(web Web, keys []string, expire int, body string) bool {
	id := p.Rec.Next(Push)
	target := fmt.Sprintf("/1/admin/push/private?key=%s&expire=%d", url.QueryEscape(keys[0]), expire)
	sent := body
	if len(keys) > 1 {
		many, err := json.Marshal(map[string]string{"m": body, "k": strings.Join(keys, ",")})
		if err != nil {
			panic(err) // a map of strings always marshals
		}
		target, sent = fmt.Sprintf("/1/admin/push/mprivate?expire=%d", expire), string(many)
	}
	p.Rec.Add(Event{Kind: Push, Push: id, Web: web.Name, Keys: keys, Expire: expire, Body: body})
	var a struct {
		Data struct{ FK []string }
		Ret  *int
	}
	e := Event{Kind: Answer, Push: id, Ret: NoAnswer}
	err := p.post(web, target, sent, &a)
	for i := 0; i < len(p.Webs) && errors.Is(err, syscall.ECONNREFUSED); i++ { // surely not sent
		err = p.post(p.Webs[i], target, sent, &a)
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
func (p *Pusher) post(web Web, target, body string, into any) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+web.Admin+target, strings.NewReader(body))
	if err != nil {
		return err
	}
	return do(p.HTTP, req, into)
}
