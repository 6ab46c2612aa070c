package message

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/config"
)

// loadText loads a configuration file with text in it.
func loadText(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "message.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	if err := config.Load(path, &cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func TestConfigEmptyFile(t *testing.T) {
	cfg, err := loadText(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg, DefaultConfig()) {
		t.Errorf("got %+v, want the default", cfg)
	}
}

func TestConfigAllKeys(t *testing.T) {
	pepper := filepath.Join(t.TempDir(), "pepper")
	if err := os.WriteFile(pepper, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadText(t, `
rpc.bind        = ["10.0.0.1:9989"]
rpc.advertise   = ["m1:9989"]
rpc.timeout     = "3s"
rpc.allow       = ["10.0.0.0/8"]
rpc.secret_file = "`+pepper+`"
node.weight = 2
stat.bind = []
pprof.bind = []
[storage]
type  = "redis"
store = 30
path  = "x"
[redis]
prefix  = ""
timeout = "1m"
idle    = 2
active  = 3
allow_eviction = true
store   = 30
[redis.source]
"node2:2"     = "tcp@localhost:6379"
"node:x:100"  = "unix@/run/redis.sock#p@ss#w:rd"
"behind:1"    = "sentinel@h1:26379,[::1]:26379/my-master#p@ss"
[token]
pepper_file = "`+pepper+`"
[log]
v = 1
[zookeeper]
addr         = ["z1:2181", "z2:2181"]
timeout      = "4s"
comet.path   = "/c"
message.path = "/m"
`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "keep", cfg.keep(), 30)
	same(t, "prefix", cfg.Redis.Prefix, "")
	src := cfg.Redis.Source
	same(t, "shards", len(src), 3) // the default one is not among them
	same(t, "tcp", src["node2:2"].String(), "tcp@localhost:6379")
	same(t, "unix", src["node:x:100"].String(), "unix@/run/redis.sock")
	same(t, "password", string(src["node:x:100"].Password.Bytes()), "p@ss#w:rd")
	same(t, "sentinel", src["behind:1"].String(), "sentinel@h1:26379,[::1]:26379/my-master")
	s, err := openShards(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	same(t, "weights", s.weights(), map[string]int{"node2": 2, "node:x": 100, "behind": 1})
	m := s.byName["behind"].store.(*redisStore).master
	same(t, "sentinels", append(m.sentinels, m.name), []string{"h1:26379", "[::1]:26379", "my-master"})

	for what, text := range map[string]string{"%+v": fmt.Sprintf("%+v %#v", cfg, cfg), "JSON": mustJSON(t, cfg)} {
		if strings.Contains(text, "p@ss") {
			t.Errorf("%s shows the password: %s", what, text)
		}
	}
}

func TestConfigMySQL(t *testing.T) {
	cfg, err := loadText(t, `
[storage]
type = "mysql"
[redis]
store = 30
[mysql]
clean   = "2m"
timeout = "1m"
idle    = 2
active  = 3
[mysql.source]
"node2:2"    = "gopush@tcp(localhost:3306)/gopush"
"node:x:100" = "u:p@ss:/(w)#rd@unix(/run/mysqld/mysqld.sock)/other"
`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "keep", cfg.keep(), 20) // redis.store is Redis' alone
	src := cfg.MySQL.Source
	same(t, "shards", len(src), 2) // the default one is not among them
	same(t, "tcp", src["node2:2"].String(), "gopush@tcp(localhost:3306)/gopush")
	same(t, "unix", src["node:x:100"].String(), "u@unix(/run/mysqld/mysqld.sock)/other")
	same(t, "password", string(src["node:x:100"].Password.Bytes()), "p@ss:/(w)#rd")
	s, err := openShards(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	same(t, "weights", s.weights(), map[string]int{"node2": 2, "node:x": 100})
	same(t, "between two sweeps", s.all[0].rest, 2*time.Minute)
	for what, text := range map[string]string{"%+v": fmt.Sprintf("%+v %#v", cfg, cfg), "JSON": mustJSON(t, cfg)} {
		if strings.Contains(text, "p@ss") {
			t.Errorf("%s shows the password: %s", what, text)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConfigOldNameOfStore(t *testing.T) {
	cfg, err := loadText(t, "[redis]\nstore = 7")
	if err != nil || cfg.keep() != 7 {
		t.Errorf("keep = %d, %v; want 7", cfg.keep(), err)
	}
}

func TestConfigProblems(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "[redis]\nidel = 3", "did you mean redis.idle?"},
		{"unknown shard key", "[redis.sauce]\n\"node1:1\" = \"tcp@localhost:6379\"", "redis.sauce"},
		{"one port twice", "stat.bind = [\"127.0.0.1:9989\"]", `stat.bind = "127.0.0.1:9989": the same port as rpc.bind = "localhost:9989"`},
		{"no port", "rpc.bind = [\"localhost\"]", "rpc.bind"},
		{"weight", "node.weight = 0", "node.weight = 0: want 1..100"},
		{"type", "[storage]\ntype = \"mongo\"", "storage.type"},
		{"store", "[storage]\nstore = 0", "storage.store = 0"},
		{"path", "[storage]\ntype = \"embedded\"\npath = \"\"", "storage.path"},
		{"two names that differ", "[storage]\nstore = 5\n[redis]\nstore = 6", "remove redis.store"},
		{"prefix of ours", "[redis]\nprefix = \"gopush:r:\"", "redis.prefix"},
		{"prefix before ours", "[redis]\nprefix = \"gopush:\"", "redis.prefix"},
		{"idle over active", "[redis]\nactive = 3\nidle = 4", "redis.idle"},
		{"durability", "[redis]\ndurability = \"disk\"", `redis.durability = "disk": want one of ["memory" "fsync" "replica"]`},
		{"timeout", "[redis]\ntimeout = \"1ms\"", "redis.timeout"},
		{"no shards", "[redis.source]", "redis.source: no shards"},
		{"no weight", source("node1", "tcp@localhost:6379"), `"node1"`},
		{"weight 0", source("node1:0", "tcp@localhost:6379"), "weight 1..100"},
		{"weight 101", source("node1:101", "tcp@localhost:6379"), "weight 1..100"},
		{"no node", source(":1", "tcp@localhost:6379"), `":1"`},
		{"no network", source("node1:1", "localhost:6379"), "tcp@host:port"},
		{"another network", source("node1:1", "udp@localhost:6379"), "tcp@host:port"},
		{"no such port", source("node1:1", "tcp@localhost:66666"), "1..65535"},
		{"no host", source("node1:1", "tcp@:6379"), "host:port"},
		{"relative path", source("node1:1", "unix@redis.sock"), "absolute path"},
		{"sentinel without a name", source("node1:1", "sentinel@h1:26379"), "want the name of the master behind the sentinels"},
		{"sentinel with an empty name", source("node1:1", "sentinel@h1:26379,h2:26379/"), "want the name of the master behind the sentinels"},
		{"sentinel with a path for a name", source("node1:1", "sentinel@h1:26379/a/b"), "want the name of the master behind the sentinels"},
		{"sentinel without a port", source("node1:1", "sentinel@h1:26379,h2/mymaster"), `sentinel "h2": want host:port with a port 1..65535`},
		{"no sentinel", source("node1:1", "sentinel@/mymaster"), `sentinel "": want host:port`},
		{"a comma too many", source("node1:1", "sentinel@h1:26379,/mymaster"), `sentinel "": want host:port`},
		{"a space", source("node1:1", "sentinel@h1:26379, h2:26379/mymaster"), `sentinel " h2:26379"`},
		{"IPv6 without brackets", source("node1:1", "sentinel@::1:26379/mymaster"), "[::1]:26379"},
		{"a sentinel twice", source("node1:1", "sentinel@h1:26379,h2:26379,h1:26379/mymaster"), `sentinel "h1:26379" is named twice`},
		{"a master twice", source("node1:1", "sentinel@h1:1/m#a") + "\n\"node2:1\" = \"sentinel@h1:1/m#b\"", "the same Redis"},
		{"empty password", source("node1:1", "tcp@localhost:6379#"), "password behind # is empty"},
		{"number", "[redis.source]\n\"node1:1\" = 6379", "redis.source"},
		{"a node twice", source("node1:1", "tcp@localhost:6379") + "\n\"node1:2\" = \"tcp@localhost:6380\"", "the same node"},
		{"a Redis twice", source("node1:1", "tcp@localhost:6379") + "\n\"node2:1\" = \"tcp@localhost:6379#pw\"", "the same Redis"},
		{"mysql: no shards", mysqlText("", ""), "mysql.source: no shards"},
		{"mysql: no weight", mysqlText("node1", "u@tcp(h:1)/d"), `mysql.source: "node1"`},
		{"mysql: Redis' form", mysqlText("node1:1", "tcp@localhost:3306"), "user@tcp(host:port)/database"},
		{"mysql: another network", mysqlText("node1:1", "u@udp(h:1)/d"), "user@tcp(host:port)/database"},
		{"mysql: no user", mysqlText("node1:1", "tcp(h:1)/d"), "user@tcp(host:port)/database"},
		{"mysql: no port", mysqlText("node1:1", "u@tcp(h)/d"), "host:port"},
		{"mysql: relative path", mysqlText("node1:1", "u@unix(s)/d"), "absolute path"},
		{"mysql: no database", mysqlText("node1:1", "u@tcp(h:1)/"), "name of a database"},
		{"mysql: parameters", mysqlText("node1:1", "u@tcp(h:1)/d?charset=utf8"), "nothing else"},
		{"mysql: empty password", mysqlText("node1:1", "u:@tcp(h:1)/d"), "password behind : is empty"},
		{"mysql: a database twice", mysqlText("node1:1", "u@tcp(h:1)/d") + "\n\"node2:1\" = \"v:pw@tcp(h:1)/d\"", "the same database"},
		{"mysql: clean", mysqlText("node1:1", "u@tcp(h:1)/d") + "\n[mysql]\nclean = \"1ms\"", "mysql.clean"},
		{"mysql: durability", mysqlText("node1:1", "u@tcp(h:1)/d") + "\n[mysql]\ndurability = \"replica\"", "mysql.durability"},
		{"mysql: idle over active", mysqlText("node1:1", "u@tcp(h:1)/d") + "\n[mysql]\nactive = 3\nidle = 4", "mysql.idle"},
		{"pepper", "[token]\npepper_file = \"/no/such\"", "token.pepper_file"},
		{"znode", "[zookeeper]\nmessage.path = \"m\"", "zookeeper.message.path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := loadText(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want an error with %q", err, test.want)
			}
		})
	}
}

func source(key, value string) string { return fmt.Sprintf("[redis.source]\n%q = %q", key, value) }

// mysqlText returns a file with one shard in MySQL.
func mysqlText(key, value string) string {
	text := "storage.type = \"mysql\"\n[mysql.source]\n"
	if key == "" {
		return text
	}
	return text + fmt.Sprintf("%q = %q", key, value)
}

// Whatever is wrong with a source, its password is not shown.
func TestConfigProblemHidesPassword(t *testing.T) {
	for _, value := range []string{
		"hunter2", "u:hunter2", "u:hunter2@", "u:hunter2@tcp", "u:hunter2@tcp(", "u:hunter2@tcp(h)/d", "u:hunter2@udp(h:1)/d", ":hunter2@tcp(h:1)/d",
		"u:hunter2@tcp(h:1)/d?x", "u:hunter2/@tcp(h:1)/", "u:@hunter2@tcp(h:1)", "u:hunter2)/@",
	} {
		if _, err := loadText(t, mysqlText("node1:1", value)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{
		"localhost:6379#hunter2", "tcp@localhost#hunter2", "udp@x:1#hunter2", "unix@x#hunter2", "#hunter2", "tcp@#hunter2",
		"sentinel@h#hunter2", "sentinel@h:1/#hunter2", "sentinel@h:1/a b#hunter2",
	} {
		if _, err := loadText(t, source("node1:1", value)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func FuzzMySQLSource(f *testing.F) {
	f.Add("u:pw@tcp(localhost:3306)/gopush")
	f.Add("u@unix(/run/s)/d")
	f.Add("@():/@(")
	f.Fuzz(func(t *testing.T, text string) {
		var s MySQLSource
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		login := s.User
		if pw := s.Password.Bytes(); pw != nil {
			login += ":" + string(pw)
		}
		if s.problem == "" && login+"@"+s.place() != text {
			t.Errorf("%q became %q", text, s)
		}
	})
}

func FuzzSource(f *testing.F) {
	f.Add("tcp@localhost:6379#pw")
	f.Add("unix@/run/redis.sock")
	f.Add("sentinel@h1:26379,[::1]:26379/mymaster#pw")
	f.Add("@#")
	f.Fuzz(func(t *testing.T, text string) {
		var s Source
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if s.problem == "" && s.Password.Bytes() == nil && s.String() != text {
			t.Errorf("%q became %q", text, s)
		}
	})
}
