package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRingUnread: a web that has not read the ring waits for it, within the time
// of the request, and never says that there is no comet.
func TestRingUnread(t *testing.T) {
	const second, push = ringTime, pushTime - answerTime
	for _, tt := range []struct {
		name, method, url, body string
		most                    time.Duration // that it waits
		read                    string        // answer where the ring is read meanwhile
	}{
		{"server/get", "GET", "/1/server/get?k=a&p=2", "", second, `{"data":{"server":"127.0.0.1:6969"},"ret":0}`},
		{"server/get of all", "GET", "/2/server/get?k=a&p=1", "", second, `{"data":{"server":["127.0.0.1:6968"]},"ret":0}`},
		{"push", "POST", "/1/admin/push/private?key=a&expire=60", "1", push, `{"ret":0}`},
		{"push to who is online", "POST", "/1/admin/push/private?key=a&expire=0", "1", push, `{"ret":0}`},
		{"push to many", "POST", "/1/admin/push/mprivate?expire=60", `{"m":"1","k":"a,b"}`, push, `{"ret":0}`},
		{"token", "GET", "/1/token/add?k=a&t=T", "", push, `{"ret":0}`},
		{"weight", "POST", "/1/admin/node/weight?node=node1&weight=2", "", second, `{"ret":0}`},
		{"nodes", "GET", "/1/admin/nodes", "", second, `{"data":{"nodes":[{"name":"node1",` +
			`"weight":1,"share":1,"active":"0000000001","standbys":0,"rpc":["node1:6970"],"tcp":["127.0.0.1:6969"],"ws":["127.0.0.1:6968"],"alive":true}],"epoch":7},"ret":0}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, testConfig())
				f.close()
				f.cluster.read = make(chan struct{})
				table, admin := internal, true
				if strings.Contains(tt.url, "/server/get?") {
					table, admin = public, false
				}
				ask := func() (string, time.Duration) {
					begun := time.Now()
					w := httptest.NewRecorder()
					f.route(table, admin).ServeHTTP(w, fromHere(tt.method, tt.url, tt.body))
					if w.Code != http.StatusOK {
						t.Errorf("status %d", w.Code)
					}
					return w.Body.String(), time.Since(begun)
				}
				if got, took := ask(); got != `{"ret":65535}` || took != tt.most {
					t.Errorf("never read: %s after %v, want ret 65535 after %v", got, took, tt.most)
				}
				time.AfterFunc(300*time.Millisecond, func() { close(f.cluster.read) })
				if got, took := ask(); got != tt.read || took != 300*time.Millisecond {
					t.Errorf("read meanwhile: %s after %v, want %s after 300ms", got, took, tt.read)
				}
				clear(f.cluster.nodes)
				if strings.Contains(tt.url, "/node") {
					return // it needs no comet
				}
				clear(f.cluster.nodes)
				if got, _ := ask(); got != `{"ret":1001}` {
					t.Errorf("read, and empty: %s, want ret 1001", got)
				}
			})
		})
	}
}
