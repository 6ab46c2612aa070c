package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeWeb answers both ports of a web, and notes what it was asked.
type fakeWeb struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string // path → body; "403" and the like: a status alone
	asked   []string          // "METHOD path?query body"
}

func newFakeWeb(t *testing.T, answers map[string]string) *fakeWeb {
	w := &fakeWeb{answers: answers}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		line := r.Method + " " + r.URL.RequestURI()
		if len(body) > 0 {
			line += " " + string(body)
		}
		if secret := r.Header.Get("Authorization"); secret != "" {
			line += " " + secret
		}
		if id := r.Header.Get("Idempotency-Key"); id != "" {
			line += " id=" + id
		}
		w.asked = append(w.asked, line)
		var status int
		answer := w.answers[r.URL.Path]
		if n, err := fmt.Sscanf(answer, "%d", &status); n == 1 && err == nil {
			http.Error(rw, "refused by the fake", status)
			return
		}
		io.WriteString(rw, answer)
	}))
	t.Cleanup(w.Close)
	return w
}

// requests returns what was asked so far, one request a line.
func (w *fakeWeb) requests() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.asked, "\n")
}

// answer changes an answer.
func (w *fakeWeb) answer(path, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[path] = body
}

// result is what a command line gave.
type result struct {
	code        int
	out, errOut string
}

// gopush runs a command line against w.
func gopush(t *testing.T, w *fakeWeb, stdin string, args ...string) result {
	t.Helper()
	return gopushState(t, w, t.TempDir(), stdin, args...)
}

func gopushState(t *testing.T, w *fakeWeb, state, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(stdin), out: &out, errOut: &errOut, stateDir: state}
	code := a.run(context.Background(), append(args, "--web", w.URL, "--admin", w.URL))
	clean := strings.NewReplacer(w.URL, "http://WEB", w.Listener.Addr().String(), "WEB")
	return result{code, clean.Replace(out.String()), clean.Replace(errOut.String())}
}

// fakeComet accepts subscriptions and says what it was told to say.
type fakeComet struct {
	net.Listener
	reply string // to the command
	wg    sync.WaitGroup

	mu      sync.Mutex
	turns   [][]string // the messages of each connection; after them it is cut
	resumed []string   // the mid that each connection gave
}

// newFakeComet returns a comet that serves one connection after the other. The
// last one is left open after its messages.
func newFakeComet(t *testing.T, reply string, turns ...[]string) *fakeComet {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeComet{Listener: l, reply: reply, turns: turns}
	c.wg.Go(c.serve)
	t.Cleanup(func() {
		l.Close()
		c.wg.Wait()
	})
	return c
}

func (c *fakeComet) serve() {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		var messages []string
		open := len(c.turns) <= 1
		if len(c.turns) > 0 {
			messages, c.turns = c.turns[0], c.turns[1:]
		}
		c.mu.Unlock()
		c.wg.Go(func() { c.talk(conn, messages, open) })
	}
}

func (c *fakeComet) talk(conn net.Conn, messages []string, open bool) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	var line string
	for range 13 { // *6 and six arguments, each with its length
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	c.mu.Lock()
	c.resumed = append(c.resumed, strings.TrimSpace(line))
	c.mu.Unlock()
	io.WriteString(conn, c.reply)
	for _, m := range messages {
		if strings.HasPrefix(m, "-") { // no message, a reply
			io.WriteString(conn, m+"\r\n")
			continue
		}
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(m), m)
	}
	if open {
		io.Copy(io.Discard, r) // until the client goes
	}
}

// last returns the mid after which the newest connection resumes, and has the
// next one sent these messages.
func (c *fakeComet) last(next ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns = [][]string{next}
	return c.resumed[len(c.resumed)-1]
}

// at returns the answer of /1/server/get that names the comet.
func (c *fakeComet) at() string {
	return fmt.Sprintf(`{"data":{"server":"%s"},"ret":0}`, c.Addr())
}
