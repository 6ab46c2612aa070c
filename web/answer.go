package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// The codes of an answer. Clients in the field know no others.
const (
	retOK       = 0
	retNoComet  = 1001  // no live comet for this key
	retParam    = 65534 // a parameter is missing or wrong
	retInternal = 65535 // nothing was promised, the caller may try again
)

var (
	// errNoComet: the ring is empty, or the key's comet has no address of the
	// protocol that was asked for.
	errNoComet = errors.New("web: no live comet for this key")
	// errParam: a parameter or the body is missing or wrong.
	errParam = errors.New("web: bad parameter")
	// errTooLarge: the body is larger than the URL takes. The connection ends
	// with the answer, for the rest of the body is still under way on it.
	errTooLarge = errors.New("web: body too large")
)

// refusal is an error that is answered with an HTTP status and a line of text:
// the caller may not do this, whatever it asks.
type refusal struct {
	status int
	text   string // says why and what to do; never repeats what was sent
}

func (e *refusal) Error() string { return "web: refused: " + e.text }

// ret is the one place where an error becomes a code.
func ret(err error) int {
	switch {
	case err == nil:
		return retOK
	case errors.Is(err, errNoComet):
		return retNoComet
	case errors.Is(err, errParam), errors.Is(err, errTooLarge):
		return retParam
	}
	return retInternal
}

// maxCallback bounds a callback name.
const maxCallback = 64

// validCallback reports whether name may wrap an answer: letters, digits, "_",
// "$" and dots cannot hold markup or an expression.
func validCallback(name string) bool {
	if len(name) > maxCallback {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '$', c == '.':
		default:
			return false
		}
	}
	return true
}

// answer is what a request gets under status 200.
type answer struct {
	ret      int
	data     []byte // one JSON object; nil: the answer has no data
	ok       bool   // the three old GET URLs say "msg":"ok" as well, whatever ret says
	callback string // empty: plain JSON
}

// append appends the answer's bytes:
//
//	{"ret":0}   {"data":{…},"ret":0}   {"data":{…},"msg":"ok","ret":0}   CB({…})
func (a answer) append(dst []byte) []byte {
	if a.callback != "" {
		dst = append(append(dst, a.callback...), '(')
	}
	dst = append(dst, '{')
	if a.data != nil {
		dst = append(append(append(dst, `"data":`...), a.data...), ',')
	}
	if a.ok {
		dst = append(dst, `"msg":"ok",`...)
	}
	dst = strconv.AppendInt(append(dst, `"ret":`...), int64(a.ret), 10)
	dst = append(dst, '}')
	if a.callback != "" {
		dst = append(dst, ')')
	}
	return dst
}

// Header values, shared by all answers and never changed.
var (
	typeJSON   = []string{"application/json;charset=utf-8"}
	typeScript = []string{"application/javascript;charset=utf-8"}
	typeText   = []string{"text/plain;charset=utf-8"}
	noSniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	closing    = []string{"close"}
)

// errorHeader tells a back-end in words why its ret is not 0. The body is fixed
// byte for byte, and http.bind tells strangers nothing.
const errorHeader = "X-Gopush-Error"

// headerText returns err as a header can carry it: short, printable ASCII.
func headerText(err error) string {
	const most = 300
	text := strings.TrimPrefix(err.Error(), errParam.Error()+": ")
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\t':
			return ' '
		case c < ' ', c > '~':
			return '?'
		}
		return c
	}, text)
	return text[:min(len(text), most)]
}

// writeTo sends the answer with its exact length: there are clients that
// compare the two, and a length keeps net/http from chunking.
func (a answer) writeTo(w http.ResponseWriter) {
	contentType := typeJSON
	if a.callback != "" {
		contentType = typeScript
	}
	write(w, http.StatusOK, contentType, a.append(make([]byte, 0, len(a.data)+len(a.callback)+64)))
}

// writeText answers without a ret.
func writeText(w http.ResponseWriter, status int, text string) {
	write(w, status, typeText, []byte(text+"\n"))
}

func write(w http.ResponseWriter, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore // every answer is about now
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

// quote returns s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("web: a string cannot be marshalled: " + err.Error())
	}
	return b
}
