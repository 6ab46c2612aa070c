package web

import (
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/golang/glog"
)

// What one connection may cost. Requests and answers have more time than
// rpc.timeout may be, or net/http would end a call that we still wait for.
const (
	headerTime = 5 * time.Second  // for the headers of a request
	readTime   = 75 * time.Second // for a whole request; on http.bind nothing has a body
	writeTime  = 2 * time.Minute  // from the end of the headers to the end of the answer
	idleTime   = 75 * time.Second // between two requests: longer than a proxy in front keeps it
	maxHeader  = 16 << 10         // bytes of request line and headers, a token among them
)

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            headerTime,
		ReadTimeout:                  readTime,
		WriteTimeout:                 writeTime,
		IdleTimeout:                  idleTime,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(serverLog{}, "", 0),
	}
}

// serverLog takes what net/http would log. Only an accept that failed needs
// somebody to act; the rest are clients' faults. None of it holds a URL.
type serverLog struct{}

func (serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: Accept error") {
		glog.Errorf("web: accept failed err=%q", text)
	} else {
		glog.V(1).Infof("web: connection failed err=%q", text)
	}
	return len(line), nil
}
