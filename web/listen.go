package web

import (
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/golang/glog"
)

// What one connection may cost.
const (
	headerTime  = 5 * time.Second  // for the headers of a request
	publicRead  = 10 * time.Second // for a request; nothing here has a body
	adminRead   = 30 * time.Second // for a request with a body of some MiB
	answerWrite = 60 * time.Second // from the end of the headers to the end of the answer
	idleTime    = 75 * time.Second // between two requests: longer than a proxy in front keeps it
	maxHeader   = 16 << 10         // bytes of request line and headers, a token among them
)

func newHTTPServer(h http.Handler, read time.Duration) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            headerTime,
		ReadTimeout:                  read,
		WriteTimeout:                 answerWrite,
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
	text := strings.TrimSuffix(string(line), "\n")
	if strings.HasPrefix(text, "http: Accept error") {
		glog.Errorf("web: %s", text)
	} else {
		glog.V(1).Infof("web: %s", text)
	}
	return len(line), nil
}
