package web

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/config"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// TestConfigKeys: a file in the form operators know is read into every field.
func TestConfigKeys(t *testing.T) {
	const text = `
auth                 = true
http.bind            = ["10.0.0.1:8090"]
admin.bind           = ["10.0.0.1:8091"]
admin.secret_file    = "/s/admin"
admin.allow          = ["10.0.0.0/8"]
stat.bind            = []
pprof.bind           = []
rpc.ping             = "2s"
rpc.retry            = "3s"
rpc.timeout          = "4s"
rpc.secret_file      = "/s/rpc"
rpc.allow            = ["10.0.0.9"]
token.secret_file    = "/s/token"
token.allow          = ["10.0.0.8"]
reap.grace           = "7s"
reap.window          = "8s"
reap.failures        = 9
reap.interval        = "11s"
drain.timeout        = "5s"
log.v                = 1
[zookeeper]
addr         = ["10.0.0.2:2181"]
timeout      = "6s"
comet.path   = "/c"
message.path = "/m"
migrate.path = "/l"
`
	path := filepath.Join(t.TempDir(), "web.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := DefaultConfig()
	if err := config.Load(path, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys(got) {
		if !strings.Contains(text, "\n"+key+" ") && !strings.Contains(text, "\n"+strings.TrimPrefix(key, "zookeeper.")+" ") {
			t.Errorf("%s is not in this test", key)
		}
	}
	if diff := cmp.Diff(Config{
		HTTP:  Port{Bind: []string{"10.0.0.1:8090"}},
		Admin: Admin{Port{Bind: []string{"10.0.0.1:8091"}}, config.Trust{SecretFile: "/s/admin", Allow: []string{"10.0.0.0/8"}}},
		Stat:  config.Local{Bind: []string{}},
		Pprof: config.Local{Bind: []string{}},
		RPC: RPC{config.Calls{Ping: 2e9, Retry: 3e9, Timeout: 4e9},
			config.Trust{SecretFile: "/s/rpc", Allow: []string{"10.0.0.9"}}},
		Token: config.Trust{SecretFile: "/s/token", Allow: []string{"10.0.0.8"}},
		Reap:  Reap{Grace: 7e9, Window: 8e9, Failures: 9, Interval: 11e9},
		Drain: Drain{Timeout: 5e9},
		Log:   config.Log{V: 1},
		ZooKeeper: ZooKeeper{
			ZooKeeper: config.ZooKeeper{Addr: []string{"10.0.0.2:2181"}, Timeout: 6e9},
			Comet:     config.Path{Path: "/c"}, Message: config.Path{Path: "/m"}, Migrate: config.Path{Path: "/l"},
		},
		Auth: true,
	}, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// TestConfigProblems: every fault is named by its key, all in one go.
func TestConfigProblems(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string // each word of it stands in the error
	}{
		{"no public port", func(c *Config) { c.HTTP.Bind = nil }, "http.bind"},
		{"no admin port", func(c *Config) { c.Admin.Bind = nil }, "admin.bind"},
		{"admin for everybody", func(c *Config) { c.Admin.Bind = []string{":8091"} }, "admin.bind admin.secret_file admin.allow"},
		{"admin on one address", func(c *Config) { c.Admin.Bind = []string{"localhost:8091", "10.0.0.1:8091"} }, "10.0.0.1:8091 admin.secret_file"},
		{"no such secret", func(c *Config) { c.Admin.SecretFile = "/nowhere" }, "admin.secret_file /nowhere"},
		{"no such token secret", func(c *Config) { c.Token.SecretFile = "/nowhere" }, "token.secret_file /nowhere"},
		{"no such rpc secret", func(c *Config) { c.RPC.SecretFile = "/nowhere" }, "rpc.secret_file /nowhere"},
		{"network", func(c *Config) { c.Token.Allow = []string{"10.0.0.0/33"} }, "token.allow 10.0.0.0/33"},
		{"address", func(c *Config) { c.HTTP.Bind = []string{"http://localhost"} }, "http.bind http://localhost"},
		{"one port twice", func(c *Config) { c.HTTP.Bind, c.Admin.Bind = []string{"localhost:8090"}, []string{"localhost:8090"} }, "http.bind admin.bind"},
		{"statistics for everybody", func(c *Config) { c.Stat.Bind = []string{":8192"} }, "stat.bind"},
		{"durations", func(c *Config) { c.RPC.Ping, c.Drain.Timeout = 1, 0 }, "rpc.ping drain.timeout"},
		{"dead comets", func(c *Config) { c.Reap = Reap{} }, "reap.grace reap.window reap.failures reap.interval"},
		{"paths", func(c *Config) { c.ZooKeeper.Comet.Path, c.ZooKeeper.Migrate.Path = "x", "/x/" }, "zookeeper.comet.path zookeeper.migrate.path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			tt.change(&cfg)
			_, err := New(cfg, Deps{})
			var all *config.Error
			if !errors.As(err, &all) {
				t.Fatalf("err = %v, want a *config.Error", err)
			}
			for word := range strings.FieldsSeq(tt.want) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is missing in: %v", word, err)
				}
			}
		})
	}
}

// TestAdminAllow: networks that need no secret make up for one.
func TestAdminAllow(t *testing.T) {
	cfg := testConfig()
	cfg.Admin.Bind = []string{"0.0.0.0:0"}
	cfg.Admin.Allow = []string{"10.0.0.0/8"}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
