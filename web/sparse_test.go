package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// TestFailureIsNamed: the log says of a request that failed which key, node and
// comet it was and what went wrong there, and neither payload nor token.
func TestFailureIsNamed(t *testing.T) {
	broken := func(err error) func(context.Context, string, peer.Push) ([]peer.PushResult, error) {
		return func(context.Context, string, peer.Push) ([]peer.PushResult, error) { return nil, err }
	}
	failed := func(context.Context, string, peer.Push) ([]peer.PushResult, error) {
		return []peer.PushResult{{Code: peer.Failed}, {}}, nil
	}
	down := fmt.Errorf("MessageRPC.Save: %w: shard node7: refused", peer.ErrFailed)
	const private, many, token = "/1/admin/push/private", "/1/admin/push/mprivate", "/1/token/add"
	for _, tt := range []struct {
		name, method, url, body string
		push                    func(context.Context, string, peer.Push) ([]peer.PushResult, error)
		want                    []string
	}{
		{"comet says failed", "POST", private + "?key=alice&expire=60", `"pay load"`,
			func(context.Context, string, peer.Push) ([]peer.PushResult, error) {
				return []peer.PushResult{{Code: peer.Failed}}, nil
			},
			[]string{private, `key=\"alice\" node=node1 comet=node1:6970 answered failed`}},
		{"comet out of reach, live", "POST", private + "?key=alice&expire=0", `"pay load"`, broken(rpcnet.ErrNotSent),
			[]string{private, "node=node1 comet=node1:6970: ", rpcnet.ErrNotSent.Error()}},
		{"comet out of reach, store too", "POST", private + "?key=alice&expire=60", `"pay load"`, broken(rpcnet.ErrNotSent),
			[]string{"comet=node1:6970: ", rpcnet.ErrNotSent.Error(), "nor could it be saved without the comet: ", "shard node7: refused"}},
		{"some of many", "POST", many + "?expire=60", `{"m":"\"pay load\"","k":"alice,bob"}`, failed,
			[]string{"keys=2 failed=1", `key=\"alice\" node=node1 comet=node1:6970 answered failed`}},
		{"token", "GET", token + "?k=alice&t=pay+load", "", nil,
			[]string{token, `key=\"alice\" comet=node1:6970: peer: not surely done`}},
		{"weight", "POST", "/1/admin/node/weight?node=node1&weight=2", "", nil, []string{`node=\"node1\" comet=node1:6970: peer: not surely done`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, testConfig())
				f.close()
				f.comet().push = tt.push
				f.comet().add = func(context.Context, peer.NewArgs) error { return peer.ErrFailed }
				f.comet().down = peer.ErrFailed
				f.messages.save = func(context.Context, peer.SaveArgs) (peer.SaveReply, error) { return peer.SaveReply{}, down }
				var lines []string
				f.failed.log = func(_ int, format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
				ask := func() {
					w := httptest.NewRecorder()
					f.route(internal, true).ServeHTTP(w, fromHere(tt.method, tt.url, tt.body))
					if !json.Valid(w.Body.Bytes()) || w.Body.String() == `{"ret":0}` {
						t.Errorf("answer %s", w.Body)
					}
				}
				ask()
				if len(lines) != 1 || strings.Contains(lines[0], "suppressed") {
					t.Fatalf("logged %q, want one line", lines)
				}
				for _, want := range tt.want {
					if !strings.Contains(lines[0], want) {
						t.Errorf("logged %s, want %s", lines[0], want)
					}
				}
				if strings.Contains(lines[0], "load") {
					t.Errorf("what nobody may see is in the log: %s", lines[0])
				}
			})
		})
	}
}

// A comet that failed is not named with the node that has its key by now.
func TestWhereaboutsOfAMovedKey(t *testing.T) {
	f := newFixture(t, testConfig())
	f.close()
	asked, err := f.cluster.Comet("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.whereabouts("a", asked), "node=node1 comet=node1:6970"; got != want {
		t.Errorf("whereabouts = %q, want %q", got, want)
	}
	f.cluster.nodes["node2"] = registry.Node{Name: "node2", Last: registry.Info{RPC: []string{"node2:6970"}}}
	f.cluster.place = func(string) string { return "node2" }
	if got, want := f.whereabouts("a", asked), "comet=node1:6970 (the key has moved since)"; got != want {
		t.Errorf("whereabouts = %q, want %q", got, want)
	}
}

func TestSparse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		s := sparse{log: func(_ int, format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
		for i := range 4 {
			s.printf("n=%d", i)
		}
		time.Sleep(sparseEvery)
		s.printf("n=%d", 4)
		time.Sleep(sparseEvery)
		s.printf("n=%d", 5)
		if got, want := strings.Join(lines, "; "), "n=0; n=4 suppressed=3; n=5"; got != want {
			t.Errorf("logged %q, want %q", got, want)
		}
	})
}

// TestBackEndIsToldWhy: on admin.bind a header and the log say why the ret is
// not 0; on http.bind, where strangers ask, neither does.
func TestBackEndIsToldWhy(t *testing.T) {
	for _, tt := range []struct {
		name, method, url, body string
		admin                   bool
		want                    string // the header; empty: none
	}{
		{"done", "POST", "/1/admin/push/private?key=a&expire=60", "1", true, ""},
		{"expire", "POST", "/1/admin/push/private?key=a&expire=soon", "1", true, "expire: want an integer from 0 to 3153600000"},
		{"key", "POST", "/1/admin/push/private?expire=60", "1", true, "key: want 1 to 255 bytes, got 0"},
		{"what was sent is cleaned", "POST", "/1/admin/node/drain?node=%0d%0aX:%c3%a9%00" + strings.Repeat("n", 400), "", true, `node = "\r\nX:?\x00n`},
		{"no comet", "POST", "/1/admin/push/private?key=nobody&expire=60", "1", true, "web: no live comet for this key"},
		{"failed", "POST", "/1/admin/msg/del?key=a", "", true, "web: not done: peer: not surely done: shard node7 does not answer"},
		{"a client's fault", "GET", "/1/server/get?k=a&p=3", "", false, ""},
		{"a client's token", "GET", "/1/token/add?k=a", "", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newContract(t)
			f.messages.del = func(string) error { return fmt.Errorf("%w: shard\nnode7\tdoes not answer", peer.ErrFailed) }
			var lines []string
			log := func(_ int, format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
			f.refused.log, f.failed.log = log, log
			table := public
			if tt.admin {
				table = internal
			}
			w := httptest.NewRecorder()
			f.route(table, tt.admin).ServeHTTP(w, fromHere(tt.method, tt.url, tt.body))
			got, sent := w.Header()[errorHeader], tt.want != ""
			if len(got) > 0 != sent || sent && (!strings.HasPrefix(got[0], tt.want) || len(got[0]) > 300) {
				t.Errorf("header %q, want %q", got, tt.want)
			}
			if len(lines) > 0 != sent || sent && !strings.Contains(lines[0], "path=/1/admin/") {
				t.Errorf("logged %q, want a line: %t", lines, sent)
			}
		})
	}
}
