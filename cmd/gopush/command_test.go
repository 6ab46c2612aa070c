package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ok = `{"ret":0}`

// Each case is one command line: what web is asked, and every byte that the
// terminal shows.
func TestCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	const (
		private  = "/1/admin/push/private"
		mprivate = "/1/admin/push/mprivate"
		tokenAdd = "/1/token/add"
		nodes    = "/1/admin/nodes"
		msgGet   = "/1/msg/get"
		weight   = "/1/admin/node/weight"
		drain    = "/1/admin/node/drain"
	)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("open-sesame-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		args    string // split at spaces
		stdin   string
		answers map[string]string
		asked   string
		want    result
	}{
		{
			name: "push", args: `push alice {"a":1}`,
			answers: map[string]string{private: ok},
			asked:   `POST /1/admin/push/private?expire=86400&key=alice {"a":1}`,
			want:    result{0, "1 message stored for alice, kept for 24h\n", ""},
		},
		{
			name: "push several, as text", args: "push alice one two --text --expire 90s",
			answers: map[string]string{private: ok},
			asked: `POST /1/admin/push/private?expire=90&key=alice "one"` + "\n" +
				`POST /1/admin/push/private?expire=90&key=alice "two"`,
			want: result{0, "2 messages stored for alice, kept for 1m30s\n", ""},
		},
		{
			name: "push to who is online", args: "push alice - --expire 0 -o json", stdin: "[1]",
			answers: map[string]string{private: ok},
			asked:   `POST /1/admin/push/private?expire=0&key=alice [1]`,
			want:    result{0, `{"pushed":["alice"]}` + "\n", ""},
		},
		{
			name: "push with the secret", args: "push alice 1 --secret-file " + secret,
			answers: map[string]string{private: ok},
			asked:   "POST /1/admin/push/private?expire=86400&key=alice 1 Bearer open-sesame-0123456789",
			want:    result{0, "1 message stored for alice, kept for 24h\n", ""},
		},
		{
			name: "push without the secret", args: "push alice 1",
			answers: map[string]string{private: "401"},
			asked:   "POST /1/admin/push/private?expire=86400&key=alice 1",
			want: result{1, "", "gopush: client: /1/admin/push/private: status 401: refused by the fake\n" +
				"The secret goes into a file that is named with --secret-file.\n"},
		},
		{
			name: "push that fails in between", args: "push alice 1 2",
			answers: map[string]string{private: `{"ret":65535}`},
			asked:   "POST /1/admin/push/private?expire=86400&key=alice 1",
			want: result{1, "", "gopush: message 1 of 2: client: /1/admin/push/private: ret 65535: internal error: nothing was promised, try again\n" +
				"Try again; web's log says why.\n"},
		},
		{
			name: "push to many", args: `push a,b "x"`,
			answers: map[string]string{mprivate: ok},
			asked:   `POST /1/admin/push/mprivate?expire=86400 {"k":"a,b","m":"\"x\""}`,
			want:    result{0, "1 message stored for a, b, kept for 24h\n", ""},
		},
		{
			name: "push to many, not all stored", args: `push a,b,c 1 -o json`,
			answers: map[string]string{mprivate: `{"data":{"fk":["b"]},"ret":0}`},
			asked:   `POST /1/admin/push/mprivate?expire=86400 {"k":"a,b,c","m":"1"}`,
			want: result{1, `{"pushed":["a","c"],"failed":["b"]}` + "\n",
				"gopush: not stored for b\nPush it to these again; the other keys have it. Web's log says why.\n"},
		},
		{
			name: "push with an id", args: "push alice 1 --id order-17",
			answers: map[string]string{private: `{"ret":0}`},
			asked:   "POST /1/admin/push/private?expire=86400&key=alice 1 id=order-17",
			want:    result{0, "1 message stored for alice, kept for 24h\n", ""},
		},
		{
			name: "push to many with an id", args: "push a,b 1 --id order-17",
			answers: map[string]string{mprivate: `{"ret":0}`},
			asked:   `POST /1/admin/push/mprivate?expire=86400 {"k":"a,b","m":"1"} id=order-17`,
			want:    result{0, "1 message stored for a, b, kept for 24h\n", ""},
		},
		{
			name: "an empty id", args: "push alice 1 --id=",
			want: result{2, "", "gopush: --id: want 1 to 255 bytes, got 0\n"},
		},
		{
			name: "one id for two", args: "push alice 1 2 --id x",
			want: result{2, "", "gopush: --id names one message, and there are 2: push them one by one, each with an id of its own\n"},
		},
		{
			name: "an id for what is not stored", args: "push alice 1 --id x --expire 0",
			want: result{2, "", "gopush: --id does nothing with --expire 0: what is not stored is not recognised\n"},
		},
		{
			name: "push that is no JSON asks nobody", args: "push alice hello",
			want: result{2, "", "gopush: not valid JSON: invalid character 'h' looking for beginning of value\nTo push it as text, add --text\n"},
		},
		{
			name: "push to an empty key", args: "push a,,b 1",
			want: result{2, "", "gopush: KEY: want 1 to 255 bytes, got 0\n"},
		},
		{
			name: "push for half a second", args: "push a 1 --expire 500ms",
			want: result{2, "", "gopush: --expire = 500ms: want whole seconds, 0 or more\n"},
		},
		{
			name: "push without a message", args: "push a",
			want: result{2, "", "gopush: want KEY[,KEY...] MESSAGE...; got 1\n" +
				"Usage: gopush push KEY[,KEY...] MESSAGE... [flags]\nSee also: gopush push --help\n"},
		},
		{
			name: "a secret file that is not there", args: "push a 1 --secret-file /does/not/exist",
			want: result{2, "", "gopush: --secret-file: open /does/not/exist: no such file or directory\n"},
		},
		{
			name: "token add", args: "token add alice s3cret",
			answers: map[string]string{tokenAdd: ok},
			asked:   "GET /1/token/add?k=alice&t=s3cret",
			want:    result{0, "alice may connect with this token for 30 days, renewed by use\n", ""},
		},
		{
			name: "token add for an hour", args: "token add alice s3cret --expire 1h",
			answers: map[string]string{tokenAdd: ok},
			asked:   "GET /1/token/add?e=3600&k=alice&t=s3cret",
			want:    result{0, "alice may connect with this token for 1h\n", ""},
		},
		{
			name: "token add as JSON does not repeat it", args: "token add alice s3cret --expire 1h -o json",
			answers: map[string]string{tokenAdd: ok},
			asked:   "GET /1/token/add?e=3600&k=alice&t=s3cret",
			want:    result{0, `{"key":"alice","seconds":3600}` + "\n", ""},
		},
		{
			name: "token add for no time", args: "token add alice s3cret --expire 0",
			want: result{2, "", "gopush: --expire = 0s: want whole seconds, 1s or more\n"},
		},
		{
			name: "nodes", args: "nodes",
			answers: map[string]string{nodes: `{"data":{"nodes":[
				{"name":"node1","weight":1,"share":0.3333,"active":"0000000001","standbys":1,"rpc":["r:1"],"tcp":["t:1","t:2"],"ws":["w:1"],"alive":true,"seen":"2026-11-23T01:02:03Z"},
				{"name":"node2","weight":2,"share":0.5,"active":"0000000002","standbys":0,"rpc":["r:2"],"tcp":["t:2"],"ws":[],"alive":false,"seen":"2026-11-23T01:02:03Z"},
				{"name":"node3","weight":1,"share":0.1667,"active":"","standbys":0,"rpc":null,"tcp":null,"ws":null,"alive":false}]},"ret":0}`},
			asked: "GET /1/admin/nodes?",
			want: result{0, strings.Join([]string{
				"NODE   WEIGHT  SHARE  STATE                  ACTIVE      STANDBYS  TCP      WEBSOCKET  RPC",
				"node1  1       33.3%  alive                  0000000001  1         t:1,t:2  w:1        r:1",
				"node2  2       50.0%  silent since 01:02:03  0000000002  0         t:2      -          r:2",
				"node3  1       16.7%  away                   -           0         -        -          -",
				""}, "\n"), ""},
		},
		{
			name: "nodes of an empty ring", args: "nodes",
			answers: map[string]string{nodes: `{"data":{"nodes":[]},"ret":0}`},
			asked:   "GET /1/admin/nodes?",
			want:    result{0, "the ring is empty: no comet has registered\n", ""},
		},
		{
			name: "nodes as JSON", args: "nodes -o json",
			answers: map[string]string{nodes: `{"data":{"nodes":[]},"ret":0}`},
			asked:   "GET /1/admin/nodes?",
			want:    result{0, "[]\n", ""},
		},
		{
			name: "weight", args: "weight node1 3",
			answers: map[string]string{weight: ok},
			asked:   "POST /1/admin/node/weight?node=node1&weight=3",
			want:    result{0, "node1 takes weight 3 until it is restarted\n", ""},
		},
		{
			name: "weight as JSON", args: "weight node1 100 -o json",
			answers: map[string]string{weight: ok},
			asked:   "POST /1/admin/node/weight?node=node1&weight=100",
			want:    result{0, `{"node":"node1","weight":100}` + "\n", ""},
		},
		{
			name: "weight of an unknown node", args: "weight node9 3",
			answers: map[string]string{weight: `{"ret":65534}`},
			asked:   "POST /1/admin/node/weight?node=node9&weight=3",
			want: result{1, "", `gopush: "node9" is no node of the ring: client: /1/admin/node/weight: ret 65534: a parameter is missing or wrong` +
				"\nSee which there are: gopush nodes\n"},
		},
		{
			name: "weight beyond the bounds asks nobody", args: "weight node1 101",
			want: result{2, "", `gopush: WEIGHT = "101": want a number from 1 to 100` + "\n"},
		},
		{
			name: "weight of nothing", args: "weight node1 0",
			want: result{2, "", `gopush: WEIGHT = "0": want a number from 1 to 100` + "\n"},
		},
		{
			name: "drain", args: "drain node1",
			answers: map[string]string{drain: ok},
			asked:   "POST /1/admin/node/drain?node=node1",
			want:    result{0, "node1 leaves the ring and sends its clients elsewhere\n", ""},
		},
		{
			name: "drain as JSON", args: "drain node1 -o json",
			answers: map[string]string{drain: ok},
			asked:   "POST /1/admin/node/drain?node=node1",
			want:    result{0, `{"draining":"node1"}` + "\n", ""},
		},
		{
			name: "drain of a comet that does not answer", args: "drain node1",
			answers: map[string]string{drain: `{"ret":65535}`},
			asked:   "POST /1/admin/node/drain?node=node1",
			want: result{1, "", "gopush: client: /1/admin/node/drain: ret 65535: internal error: nothing was promised, try again\n" +
				"Try again; web's log says why.\n"},
		},
		{
			name: "offline", args: "offline alice",
			answers: map[string]string{msgGet: `{"data":{"msgs":[{"msg":{"a":"\u003c"},"mid":17640000000000000,"gid":0},{"msg":2,"mid":17640000010000000,"gid":0}]},"ret":0}`},
			asked:   "GET /1/msg/get?k=alice&m=0",
			want: result{0, "MID                PUSHED               MESSAGE\n" +
				`17640000000000000  2025-11-24 16:00:00  {"a":"\u003c"}` + "\n" +
				"17640000010000000  2025-11-24 16:00:01  2\n", ""},
		},
		{
			name: "offline as JSON", args: "offline alice -o json --token T",
			answers: map[string]string{msgGet: `{"data":{"msgs":[{"msg":{"a":"\u003c"},"mid":17640000000000000,"gid":0}]},"ret":0}`},
			asked:   "GET /1/msg/get?k=alice&m=0&t=T",
			want:    result{0, `{"msg":{"a":"\u003c"},"mid":17640000000000000,"gid":0}` + "\n", ""},
		},
		{
			name: "offline with nothing stored", args: "offline alice",
			answers: map[string]string{msgGet: ok},
			asked:   "GET /1/msg/get?k=alice&m=0",
			want:    result{0, "nothing is stored for alice\n", ""},
		},
		{
			name: "offline where auth is on", args: "offline alice",
			answers: map[string]string{msgGet: `{"ret":65534}`},
			asked:   "GET /1/msg/get?k=alice&m=0",
			want: result{1, "", "gopush: client: /1/msg/get: ret 65534: a parameter is missing or wrong\n" +
				"Where auth is on, the key's token is needed: --token TOKEN\n"},
		},
		{
			name: "offline with a wrong token", args: "offline carl --token X",
			answers: map[string]string{msgGet: `{"ret":65534}`},
			asked:   "GET /1/msg/get?k=carl&m=0&t=X",
			want: result{1, "", "gopush: client: /1/msg/get: ret 65534: a parameter is missing or wrong\n" +
				"The token is none of carl's, or is over. Add it: gopush token add carl TOKEN\n"},
		},
		{
			name: "the public port for the internal one", args: "nodes",
			answers: map[string]string{nodes: "404"},
			asked:   "GET /1/admin/nodes?",
			want: result{1, "", "gopush: client: /1/admin/nodes: status 404: refused by the fake\n" +
				"Nothing of this name is there. Is --web the address of http.bind, and --admin that of admin.bind?\n"},
		},
		{
			name: "an unknown command", args: "frobnicate",
			want: result{2, "", "gopush: unknown command \"frobnicate\" for \"gopush\"\nUsage: gopush [flags]\nSee also: gopush --help\n"},
		},
		{
			name: "an unknown flag", args: "nodes --colour",
			want: result{2, "", "gopush: unknown flag: --colour\nUsage: gopush nodes [flags]\nSee also: gopush nodes --help\n"},
		},
		{
			name: "an unknown format", args: "nodes -o yaml",
			want: result{2, "", "gopush: --output = \"yaml\": want text|json\n" +
				"Usage: gopush nodes [flags]\nSee also: gopush nodes --help\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFakeWeb(t, tt.answers)
			got := gopush(t, w, tt.stdin, strings.Fields(tt.args)...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("gopush %s (-want +got):\n%s", tt.args, diff)
			}
			if diff := cmp.Diff(tt.asked, w.requests()); diff != "" {
				t.Errorf("web was asked (-want +got):\n%s", diff)
			}
		})
	}
}

// What no cluster can answer is refused here, by name.
func TestWrongUse(t *testing.T) {
	long := strings.Repeat("k", 256)
	for _, tt := range []struct {
		args []string
		want string // first line
	}{
		{[]string{"sub", "alice", "--web", "localhost:8090"}, `--web = "localhost:8090": want a URL, such as http://localhost:8090`},
		{[]string{"sub", "alice", "--web", ""}, `--web = "": want a URL, such as http://localhost:8090`},
		{[]string{"nodes", "--admin", "localhost:8091"}, `--admin = "localhost:8091": want a URL, such as http://localhost:8091`},
		{[]string{"sub", "alice", "--timeout", "0"}, "--timeout = 0s: want a time above 0, such as 5s"},
		{[]string{"nodes", "--timeout", "-1s"}, "--timeout = -1s: want a time above 0, such as 5s"},
		{[]string{"nodes", "--timeout", "5"}, `--timeout = "5": want a time with its unit, such as 30s or 24h`},
		{[]string{"sub", "alice", "-n", "x"}, `--count = "x": want a whole number`},
		{[]string{"sub"}, "want KEY; got none"},
		{[]string{"offline", "a", "b"}, "want KEY; got 2"},
		{[]string{"weight", "node1"}, "want NODE WEIGHT; got 1"},
		{[]string{"token", "add", "alice"}, "want KEY TOKEN; got 1"},
		{[]string{"token", "add", "alice", ""}, "TOKEN: want 1 to 2048 bytes, got 0"},
		{[]string{"token", "add", "", "T"}, "KEY: want 1 to 255 bytes, got 0"},
		{[]string{"token", "add", long, "T"}, "KEY: want 1 to 255 bytes, got 256"},
		{[]string{"sub", long}, "KEY: want 1 to 255 bytes, got 256"},
		{[]string{"offline", long}, "KEY: want 1 to 255 bytes, got 256"},
		{[]string{"push", "a," + long, "1"}, "KEY: want 1 to 255 bytes, got 256"},
	} {
		var out, errOut bytes.Buffer
		a := &app{out: &out, errOut: &errOut, stateDir: t.TempDir()}
		code := a.run(t.Context(), tt.args)
		line, _, _ := strings.Cut(errOut.String(), "\n")
		if code != 2 || out.Len() > 0 || line != "gopush: "+tt.want {
			t.Errorf("gopush %q = %d %q %q, want 2 and %q", tt.args, code, out.String(), line, tt.want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	w := newFakeWeb(t, nil)
	w.Close()
	for _, args := range []string{"push a 1", "token add a t", "nodes", "offline a", "sub a"} {
		got := gopush(t, w, "", strings.Fields(args)...)
		if got.code != 1 || got.out != "" || !strings.Contains(got.errOut, "connection refused\nIs a cluster running?") {
			t.Errorf("gopush %s = %d %q %q, want 1 and what to do", args, got.code, got.out, got.errOut)
		}
	}
}
