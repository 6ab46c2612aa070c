package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample has every shape that a daemon's Config has.
type sample struct {
	RPC     RPC   `toml:"rpc"`
	Stat    Local `toml:"stat"`
	Channel struct {
		QueueLen int  `toml:"msgbuf"`
		Auth     bool `toml:"auth"`
		Sndbuf   struct {
			Size Size `toml:"size"`
		} `toml:"sndbuf"`
	} `toml:"channel"`
	ZooKeeper struct {
		ZooKeeper
		Comet struct {
			Path
			Node   string `toml:"node"`
			Weight int    `toml:"weight"`
		} `toml:"comet"`
		Message Path `toml:"message"`
	} `toml:"zookeeper"`
	Redis struct {
		Source map[string]string `toml:"source"`
	} `toml:"redis"`
	Rate float64 `toml:"rate"`

	derived int // not in the file
}

func defaults() sample {
	var s sample
	s.RPC.Bind = []string{"localhost:6970"}
	s.RPC.Calls = DefaultCalls()
	s.Channel.QueueLen = 128
	s.ZooKeeper.ZooKeeper = DefaultZooKeeper()
	s.ZooKeeper.Comet.Weight = 1
	s.Redis.Source = map[string]string{"node1:1": "tcp@localhost:6379"}
	s.derived = 7
	return s
}

func (s sample) Validate() error {
	var p Problems
	s.RPC.Validate("rpc", &p)
	s.Stat.Validate("stat", &p)
	p.Between("channel.msgbuf", s.Channel.QueueLen, 1, 65536, "remove the line for the default, 128")
	s.ZooKeeper.ZooKeeper.Validate(&p)
	return p.Err()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "comet.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	got := defaults()
	err := Load(write(t, `
# as operators write it
rpc.bind = ["localhost:1", "127.0.0.2:2"]
rpc.ping = "500ms"
rate = 0.5

[channel]
msgbuf = 256
auth = true
sndbuf.size = "64KB"

[zookeeper]
addr = []
timeout = "1m30s"
comet.path = "/gopush-cluster-comet"
comet.node = "node1"
message.path = "/gopush-cluster-message"

[redis.source]
"node2:2" = "tcp@localhost:6379#secret"
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.RPC.Bind = []string{"localhost:1", "127.0.0.2:2"}
	want.RPC.Ping = Duration(500 * time.Millisecond)
	want.Rate = 0.5
	want.Channel.QueueLen = 256
	want.Channel.Auth = true
	want.Channel.Sndbuf.Size = 64 * KB
	want.ZooKeeper.Addr = []string{}
	want.ZooKeeper.Timeout = Duration(90 * time.Second)
	want.ZooKeeper.Comet.Path = Path{"/gopush-cluster-comet"}
	want.ZooKeeper.Comet.Node = "node1"
	want.ZooKeeper.Message.Path = "/gopush-cluster-message"
	want.Redis.Source = map[string]string{"node2:2": "tcp@localhost:6379#secret"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("Load, want - got +\n%s", diff)
	}
}

// As docs/configuration.md says: a table may follow a dotted key of its name, and
// what is dotted inside belongs to the table.
func TestDottedKeysAndTables(t *testing.T) {
	got := defaults()
	err := Load(write(t, "channel.auth = true\nrpc.ping = \"500ms\"\n[channel]\nmsgbuf = 256\nsndbuf.size = \"64KB\"\n"), &got)
	want := defaults()
	want.RPC.Ping = Duration(500 * time.Millisecond)
	want.Channel.Auth, want.Channel.QueueLen, want.Channel.Sndbuf.Size = true, 256, 64*KB
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); err != nil || diff != "" {
		t.Errorf("Load = %v, want - got +\n%s", err, diff)
	}
	err = Load(write(t, "[channel]\nauth = true\nrpc.ping = \"500ms\"\n"), &got)
	if err == nil || !strings.Contains(err.Error(), "channel.rpc: unknown key") {
		t.Errorf("Load = %v, want rpc taken for a key of the table", err)
	}
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	got := defaults()
	if err := Load(write(t, ""), &got); err != nil || !reflect.DeepEqual(got, defaults()) {
		t.Errorf("Load of an empty file = %v, %+v; want the defaults", err, got)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // each problem, from the start
	}{
		{"unknown key", `rpc.bnd = []`, []string{"rpc.bnd: unknown key; did you mean rpc.bind?"}},
		{"unknown key in a table", "[channel]\nmsgbuff = 1", []string{"channel.msgbuff: unknown key; did you mean channel.msgbuf?"}},
		{"key out of its table", `weight = 1`, []string{"weight: unknown key; did you mean zookeeper.comet.weight?"}},
		{"a table that only another kind of daemon has", "zookeeper.migrate.path = \"/m\"", []string{"zookeeper.migrate: unknown key; remove it"}},
		{"one key too many in a table", "[zookeeper.message]\nnode = \"n\"", []string{"zookeeper.message.node: unknown key; remove it"}},
		{"a key in a table that is known without", "[room]\nquota = 1\nrate = 0.5", []string{
			"room.quota: unknown key; remove it", "room.rate: unknown key; did you mean rate?"}},
		{"swapped letters", "[channel]\nauht = true", []string{"channel.auht: unknown key; did you mean channel.auth?"}},
		{"nothing near", `quota = 1`, []string{"quota: unknown key; remove it"}},
		{"unknown table once", "[quotas]\na = 1\nb = 2", []string{"quotas: unknown key; remove it"}},
		{"case counts", "Rate = 0.5", []string{"Rate: unknown key; did you mean rate?"}},
		{"a key of Go's, not the file's", "derived = 1", []string{"derived: unknown key; remove it"}},
		{"an embedded name", "[rpc.Calls]\nping = \"1s\"", []string{"rpc.Calls: unknown key"}},
		{"types", `
rate = 1
rpc.bind = "localhost:6970"
rpc.ping = 5
rpc.retry = "soon"
rpc.allow = ["a", 1]
stat = []
[channel]
msgbuf = "128"
auth = "no"
sndbuf.size = "64 KiB"
[redis]
source = { "node1:1" = 5 }
`, []string{
			`channel.auth = "no": want true or false`,
			`channel.msgbuf = "128": want a whole number`,
			`channel.sndbuf.size = "64 KiB": want a whole number with its unit, like "512B", "64KB" or "1MB"`,
			`rate = 1: want a number with a decimal point`,
			`redis.source."node1:1" = 5: want a string in quotes`,
			`rpc.allow = ["a", 1]: want an array of strings, like ["a", "b"]`,
			`rpc.bind = "localhost:6970": want an array of strings`,
			`rpc.ping = 5: want a duration in quotes, like "30s"`,
			`rpc.retry = "soon": want a duration with its unit`,
			`stat = []: want a table`,
		}},
		{"all at once", "rpc.bnd = []\nchannel.msgbuf = true\nrpc.tiemout = \"1s\"", []string{
			"channel.msgbuf = true: want a whole number",
			"rpc.bnd: unknown key; did you mean rpc.bind?",
			"rpc.tiemout: unknown key; did you mean rpc.timeout?",
		}},
		{"syntax", "rpc.bind = [", []string{"line 1"}},
		{"key twice", "rate = 0.5\nrate = 0.7", []string{`line 2 (last key "rate"): Key 'rate' has already been defined`}},
		{"not UTF-8", "rate = \"\xff\"", []string{"line 1"}},
		{"number over int64", "channel.msgbuf = 99999999999999999999", []string{"line 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			into := defaults()
			err := Load(path, &into)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Load = %v, want an *Error", err)
			}
			if e.Path != path || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("the error %q does not name the file", err)
			}
			if len(e.Problems) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(e.Problems), len(tt.want), err)
			}
			for i, want := range tt.want {
				if got := e.Problems[i].Error(); !strings.HasPrefix(got, want) {
					t.Errorf("problem %d\n got %s\nwant %s…", i, got, want)
				}
			}
		})
	}
}

// The rest of a file that has errors can be checked: what is wrong keeps its
// default, and what is right is there.
func TestLoadErrorsLeaveTheRest(t *testing.T) {
	got := defaults()
	err := Load(write(t, `
rpc.bind = ["localhost:1", 2]
rpc.ping = "soon"
rpc.bnd = []
rate = "high"
[channel]
msgbuf = 0
auth = 1
[redis.source]
"node1:1" = "tcp@localhost:1"
"node2:1" = 5
`), &got)
	if err == nil {
		t.Fatal("Load = nil, want an error")
	}
	want := defaults()
	want.Channel.QueueLen = 0
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("Load, want - got +\n%s", diff)
	}
}

func TestLoadFileErrors(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.toml"), "none.toml: cannot open it: no such file or directory; give the file with -c"},
		{"folder", dir, "cannot read it"},
		{"endless", "/dev/zero", "/dev/zero: more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			into := defaults()
			var e *Error
			if err := Load(tt.path, &into); !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v, want an *Error with %q", err, tt.want)
			}
		})
	}
}

func TestErrorsShowNoSecrets(t *testing.T) {
	into := defaults()
	err := Load(write(t, "[redis.source]\n\"node1:1\" = \"tcp@localhost:6379#hunter2\"\n\"node1:1\" = \"again#hunter2\"\n"), &into)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Load = %v, want an error without the password", err)
	}
}

func TestKeys(t *testing.T) {
	want := []string{
		"channel.auth", "channel.msgbuf", "channel.sndbuf.size", "rate", "redis.source",
		"rpc.advertise", "rpc.allow", "rpc.bind", "rpc.ping", "rpc.retry", "rpc.secret_file", "rpc.timeout", "stat.bind",
		"zookeeper.addr", "zookeeper.comet.node", "zookeeper.comet.path", "zookeeper.comet.weight",
		"zookeeper.message.path", "zookeeper.timeout",
	}
	if got := Keys(sample{}); !slices.Equal(got, want) {
		t.Errorf("Keys = %q\nwant %q", got, want)
	}
}

func TestProblemsComeOutTogether(t *testing.T) {
	s := defaults()
	s.Channel.QueueLen = 0
	s.RPC.Timeout = 0
	s.RPC.Bind = []string{"0.0.0.0:6970", "6970"}
	err := s.Validate()
	want := `configuration: 4 problems
  rpc.bind = "6970": want "host:port"
  rpc.timeout = "0s": want "100ms".."1m"; remove the line for the default, "2s"
  rpc.bind = "0.0.0.0:6970": can be reached from other machines; set rpc.secret_file, or rpc.allow to the networks that need no secret, or bind localhost
  channel.msgbuf = 0: want 1..65536; remove the line for the default, 128`
	if err == nil || err.Error() != want {
		t.Errorf("Validate =\n%v\nwant\n%s", err, want)
	}
	var p Problems
	p.Add(err)
	p.Add(nil)
	p.Add(errors.New("one more"))
	var e *Error
	if !errors.As(p.Err(), &e) || len(e.Problems) != 5 {
		t.Errorf("Add gathered %v, want 5 problems", p.Err())
	}
	if err := defaults().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestApart(t *testing.T) {
	bind := func(rpc, stat string) sample {
		s := defaults()
		s.RPC.Bind, s.Stat.Bind = []string{rpc}, []string{stat}
		return s
	}
	const twice = `stat.bind = %q: the same port as rpc.bind = %q; choose another`
	for _, tt := range []struct {
		rpc, stat string
		together  bool
	}{
		{"localhost:1", "localhost:2", false},
		{"localhost:1", "localhost:1", true},
		{"localhost:1", "127.0.0.1:1", true},
		{"LocalHost:1", "localhost:1", true},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"0.0.0.0:1", "localhost:1", true},
		{":1", "[::1]:1", true},
		{"[::]:1", "127.0.0.1:1", true},
		{"0.0.0.0:1", "[::1]:1", false},
		{"[::1]:1", "localhost:1", false},
		{"push.example.com:1", "localhost:1", false},
		{"nonsense", "nonsense", false}, // said elsewhere
	} {
		var p Problems
		p.Apart(bind(tt.rpc, tt.stat))
		switch want := fmt.Sprintf("configuration: "+twice, tt.stat, tt.rpc); {
		case !tt.together && p.Err() != nil:
			t.Errorf("%s and %s: %v, want no problem", tt.rpc, tt.stat, p.Err())
		case tt.together && (p.Err() == nil || p.Err().Error() != want):
			t.Errorf("%s and %s: %v, want %s", tt.rpc, tt.stat, p.Err(), want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("rpc.bind = [\"localhost:1\"]\n[channel]\nmsgbuf = 1\n")
	f.Add("channel = 1\nrpc.ping = \"1h\"\nx.y.z = {a = [1, [2]]}\n")
	f.Add("[[rpc]]\n[redis.source]\n\"a:1\" = \"b\"\n")
	f.Add("rate = nan\nchannel.sndbuf.size = \"9223372036854775807GB\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		var p Problems
		into := defaults()
		load(text, reflect.ValueOf(&into).Elem(), &p)
		for _, err := range p.all {
			if strings.TrimSpace(err.Error()) == "" {
				t.Errorf("a problem without words for %q", text)
			}
		}
		_ = fmt.Sprint(into.Validate())
	})
}
