package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestContract runs every row of docs/protocol.md, 1 to 5, that does no harm
// against one cluster: two comets, two webs, one message and a Redis that an
// old daemon could share.
func TestContract(t *testing.T) {
	t.Parallel()
	c := start(t, options{
		nodes: []string{"node1", "node2"}, webs: 2,
		message: settings{"redis.prefix": ""},
	})
	for _, part := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"tcp replies", testTCPReplies},
		{"tcp closed without a reply", testTCPClosed},
		{"tcp heartbeats", testTCPHeartbeats},
		{"tcp subscriber limit", testSubscriberLimit},
		{"tcp deadlines", testTCPDeadlines},
		{"websocket replies", testWSReplies},
		{"websocket frames", testWSFrames},
		{"bodies", testBodies},
		{"resume", testResume},
		{"gap", testGap},
		{"http public", testHTTPPublic},
		{"http old", testHTTPOld},
		{"http callbacks", testHTTPCallbacks},
		{"http admin", testHTTPAdmin},
		{"http methods", testHTTPMethods},
		{"http token add", testTokenAdd},
		{"both webs agree", testWebsAgree},
		{"rpc comet", testRPCComet},
		{"rpc message", testRPCMessage},
		{"old members", testOldMembers},
		{"znodes", testZnodes},
		{"expiry", testExpiry},
		{"stat", testStat},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.run(t, c.with(t))
		})
	}
}

// oldForm returns the JSON string that an old client gets for canonical JSON.
func oldForm(canonical string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(canonical) + `"`
}

// testBodies proves docs/protocol.md, "Message body": what was pushed reaches
// old and new clients on TCP and WebSocket, and the offline answers, in one form.
func testBodies(t *testing.T, c *cluster) {
	tests := []struct{ name, pushed, want string }{
		{"object", `{"PAYL0AD":1}`, `{"PAYL0AD":1}`},
		{"white space", " {\r\n\t\"a\" : [ 1 , 2 ]\n} ", `{"a":[1,2]}`},
		{"space in a string stays", `" a  b "`, `" a  b "`},
		{"HTML", `"<b>&</b>"`, `"\u003cb\u003e\u0026\u003c/b\u003e"`},
		{"line separators", "\"\u2028\u2029\"", `"\u2028\u2029"`},
		{"not ASCII", `"grüße 推送 😀"`, `"grüße 推送 😀"`},
		{"escapes stay as they are", `"\u00fc\/\n\\\""`, `"\u00fc\/\n\\\""`},
		{"null", `null`, `null`},
		{"number", `1.50e+3`, `1.50e+3`},
		{"long number", `123456789012345678901234567890`, `123456789012345678901234567890`},
		{"order and repeats of fields", `{"b":1,"a":2,"a":3}`, `{"b":1,"a":2,"a":3}`},
		{"looks like a member", `{"msg":1,"expire":1,"mid":1,"nonce":"x"}`, `{"msg":1,"expire":1,"mid":1,"nonce":"x"}`},
		{"64 KiB", `"` + strings.Repeat("x", 64<<10) + `"`, `"` + strings.Repeat("x", 64<<10) + `"`},
	}
	const key = "bodies of messages" // a key may hold a space
	live := []struct {
		name string
		old  bool
		body func() string
	}{
		{"tcp new", false, c.subscribe(key, "", "1.0").body},
		{"tcp old", true, c.subscribe(key).body},
		{"tcp empty version", true, c.subscribe(key, "", "").body},
		{"websocket new", false, c.subscribeWS(key, "&ver=1.0").body},
		{"websocket old", true, c.subscribeWS(key, "").body},
		{"websocket empty version", true, c.subscribeWS(key, "&ver=").body},
	}
	last := int64(0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := c.with(t)
			c.mustPush(key, tt.pushed)
			kept := c.mustFetch(key, last)
			if len(kept) != 1 || kept[0].msg != tt.want {
				t.Fatalf("fetched %.300s, want one message %.200s", fmt.Sprint(kept), tt.want)
			}
			if m := kept[0].mid; m <= last || m%80 != 0 {
				t.Errorf("mid %d after %d, want it larger and a multiple of 80", m, last)
			}
			last = kept[0].mid
			for _, l := range live {
				msg := tt.want
				if l.old {
					msg = oldForm(msg)
				}
				if got, want := l.body(), fmt.Sprintf(`{"msg":%s,"mid":%d,"gid":0}`, msg, last); got != want {
					t.Fatalf("%s: %.200q, want %.200q", l.name, got, want)
				}
			}
		})
	}
}
