package web

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/golang/glog"
)

// endpoint is one URL.
type endpoint struct {
	method string
	names  names
	ok     bool // answers say "msg":"ok" too
	serve  func(*Server, *request) (data []byte, err error)
}

// public is what http.bind serves. The last three are the old URLs.
var public = map[string]endpoint{
	"/1/server/get": {http.MethodGet, versioned, false, (*Server).serverOne},
	"/2/server/get": {http.MethodGet, versioned, false, (*Server).serverAll},
	"/1/msg/get":    {http.MethodGet, versioned, false, (*Server).messages},
	"/1/time/get":   {http.MethodGet, versioned, false, (*Server).time},
	"/1/token/add":  {http.MethodGet, versioned, false, (*Server).tokenAddPublic},

	"/server/get": {http.MethodGet, unversioned, true, (*Server).serverOne},
	"/msg/get":    {http.MethodGet, unversioned, true, (*Server).messagesOld},
	"/time/get":   {http.MethodGet, unversioned, true, (*Server).time},
}

// internal is what admin.bind serves, behind the guard. /1/admin/node… is ours.
var internal = map[string]endpoint{
	"/1/admin/push/private":  {http.MethodPost, admin, false, (*Server).pushPrivate},
	"/1/admin/push/mprivate": {http.MethodPost, admin, false, (*Server).pushPrivates},
	"/1/admin/msg/del":       {http.MethodPost, admin, false, (*Server).deleteMessages},
	"/1/admin/nodes":         {http.MethodGet, admin, false, (*Server).nodes},
	"/1/admin/node/weight":   {http.MethodPost, admin, false, (*Server).setWeight},
	"/1/admin/node/drain":    {http.MethodPost, admin, false, (*Server).drainNode},
	"/1/token/add":           {http.MethodGet, versioned, false, (*Server).tokenAdd},

	"/admin/push":      {http.MethodPost, admin, false, (*Server).pushPrivate},
	"/admin/msg/clean": {http.MethodPost, admin, false, (*Server).deleteMessages},
}

// route finds the URL's endpoint, asks the guard of admin.bind where it is that
// port, and answers.
// Paths are compared as they are: http.ServeMux would answer some with a
// redirect, which no client in the field follows, and HEAD like GET.
func (s *Server) route(table map[string]endpoint, admin bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, found := table[r.URL.Path]
		switch {
		case !found:
			s.count.unknown.Add(1)
			writeText(w, http.StatusNotFound, "no such URL")
			return
		case r.Method != e.method:
			s.count.method.Add(1)
			w.Header()["Allow"] = []string{e.method}
			writeText(w, http.StatusMethodNotAllowed, "use "+e.method)
			return
		}
		q := newRequest(w, r, e.names)
		data, err := s.call(e, q, admin)
		if no := (*refusal)(nil); errors.As(err, &no) {
			s.count.refused.Add(1)
			if no.status == http.StatusUnauthorized {
				w.Header()["Www-Authenticate"] = []string{"Bearer"}
			}
			if r.ContentLength != 0 { // do not wait for a body that nobody will read
				w.Header()["Connection"] = closing
			}
			writeText(w, no.status, no.text)
			return
		}
		a := answer{ret: ret(err), data: data, ok: e.ok}
		if e.names.callback != "" && !errors.Is(err, errCallback) {
			a.callback = q.query.Get(e.names.callback)
		}
		s.note(r.URL.Path, a.ret, err, admin)
		if err != nil && admin {
			w.Header()[errorHeader] = []string{headerText(err)}
		}
		a.writeTo(w)
	})
}

// errCallback: the callback's name cannot be sent back.
var errCallback = fmt.Errorf("%w: callback: want letters, digits, _, $ and dots, at most %d", errParam, maxCallback)

// call runs the endpoint. A panic ends this request only.
func (s *Server) call(e endpoint, q *request, admin bool) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("web: panic: %v", p)
			glog.Errorf("web: handler panicked path=%s panic=%v\n%s", q.URL.Path, p, debug.Stack())
		}
	}()
	if admin {
		if err := s.guardAdmin(q.Request); err != nil {
			return nil, err
		}
	}
	if e.names.callback != "" && !validCallback(q.query.Get(e.names.callback)) {
		return nil, errCallback
	}
	return e.serve(s, q)
}

// note counts an answer, and logs what went wrong, ours and that of back-ends at
// most once a second. The faults of clients are for who looks closely: they are
// anybody's.
func (s *Server) note(path string, ret int, err error, admin bool) {
	s.count.answer(path, ret)
	if errors.Is(err, errTooLarge) {
		s.count.tooBig.Add(1)
	}
	switch {
	case ret == retOK:
	case ret == retInternal:
		s.failed.printf("web: request failed path=%s err=%q", path, err)
	case admin:
		s.refused.printf("web: request refused path=%s ret=%d err=%q", path, ret, err)
	default:
		glog.V(1).Infof("web: request refused path=%s ret=%d err=%q", path, ret, err)
	}
}
