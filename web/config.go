package web

import (
	"time"

	"gopush-cluster/internal/config"
)

// Config is the file of a web daemon, conf/web.toml.
type Config struct {
	HTTP      Port         `toml:"http"`  // where client apps come, most often through a proxy
	Admin     Admin        `toml:"admin"` // where back-ends push
	Stat      config.Local `toml:"stat"`
	Pprof     config.Local `toml:"pprof"`
	RPC       RPC          `toml:"rpc"`
	Token     config.Trust `toml:"token"` // who else than this machine may add tokens through http.bind: who signs, or comes from there
	Reap      Reap         `toml:"reap"`
	Drain     Drain        `toml:"drain"`
	Log       config.Log   `toml:"log"`
	ZooKeeper ZooKeeper    `toml:"zookeeper"`

	// Auth makes msg/get want a live token of the key. Have it the same as
	// comet's channel.auth: with one of them off, what the other keeps from a
	// stranger can be had there.
	Auth bool `toml:"auth"`
}

type (
	// Port is a place to listen on. Nobody is told of it: clients know it from
	// their own configuration.
	Port struct {
		// Bind are the addresses to listen on, host:port; port 0 takes a free one.
		Bind []string `toml:"bind"`
	}

	// Admin is the internal port, and who may use it.
	Admin struct {
		Port
		config.Trust
	}

	// RPC is how web calls comets and message daemons. It is called by none.
	RPC struct {
		config.Calls
		config.Trust
	}

	// Reap is when a comet is taken for dead, and its place out of the ring.
	Reap struct {
		// Grace is how long a comet may be unregistered before it counts that it
		// does not answer either, 1s..1h. Shorter serves the keys of a dead one
		// elsewhere sooner; longer leaves more time to come back in place, with
		// nothing moved.
		Grace config.Duration `toml:"grace"`
		// Window is for how long, and Failures is how many times in a row, a
		// comet that is registered must fail to answer, 1s..1h and 1..1000.
		// Less takes one that hangs out sooner; too little takes out one that is
		// only busy, and its clients reconnect for nothing.
		Window   config.Duration `toml:"window"`
		Failures int             `toml:"failures"` // pings, one a second
		// Interval is the least time between two comets that are taken out
		// though they are registered, 1s..1h. Longer limits the harm if it is
		// not they who are in trouble; shorter clears up sooner.
		Interval config.Duration `toml:"interval"`
	}

	// Drain is the end of the daemon.
	Drain struct {
		// Timeout is how long requests may take to finish after SIGTERM,
		// 1s..10m. A push takes 2 s, one to many keys up to 12; a client that
		// reads slowly takes longer, and is cut off at the end of it.
		Timeout config.Duration `toml:"timeout"`
	}

	// ZooKeeper is where the daemons find each other.
	ZooKeeper struct {
		config.ZooKeeper
		Comet   config.Path `toml:"comet"`   // the ring
		Message config.Path `toml:"message"` // the message daemons
		Migrate config.Path `toml:"migrate"` // the lock of who tells comets of a change
	}
)

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		HTTP:  Port{Bind: []string{"localhost:8090"}},
		Admin: Admin{Port: Port{Bind: []string{"localhost:8091"}}},
		Stat:  config.Local{Bind: []string{"localhost:8192"}},
		Pprof: config.Local{Bind: []string{"localhost:8190"}},
		RPC:   RPC{Calls: config.DefaultCalls()},
		Reap: Reap{
			Grace:    config.Duration(5 * time.Second),
			Window:   config.Duration(15 * time.Second),
			Failures: 5,
			Interval: config.Duration(10 * time.Second),
		},
		Drain: Drain{Timeout: config.Duration(60 * time.Second)},
		ZooKeeper: ZooKeeper{
			ZooKeeper: config.DefaultZooKeeper(),
			Comet:     config.Path{Path: "/gopush-cluster-comet"},
			Message:   config.Path{Path: "/gopush-cluster-message"},
			Migrate:   config.Path{Path: "/gopush-migrate-lock"},
		},
	}
}

// Validate checks every key, and that the secrets can be read. Its error is a
// *config.Error with all that is wrong.
func (c Config) Validate() error {
	var p config.Problems
	p.Some("http.bind", c.HTTP.Bind)
	p.Some("admin.bind", c.Admin.Bind)
	c.Admin.Trust.Validate("admin", c.Admin.Bind, &p)
	c.Stat.Validate("stat", &p)
	c.Pprof.Validate("pprof", &p)
	p.Apart(c)
	c.RPC.Calls.Validate("rpc", &p)
	c.RPC.Trust.Validate("rpc", nil, &p)
	c.Token.Validate("token", nil, &p)
	p.Duration("reap.grace", c.Reap.Grace, time.Second, time.Hour, `remove the line for the default, "5s"`)
	p.Duration("reap.window", c.Reap.Window, time.Second, time.Hour, `remove the line for the default, "15s"`)
	p.Between("reap.failures", c.Reap.Failures, 1, 1000, "remove the line for the default, 5")
	p.Duration("reap.interval", c.Reap.Interval, time.Second, time.Hour, `remove the line for the default, "10s"`)
	p.Duration("drain.timeout", c.Drain.Timeout, time.Second, 10*time.Minute, `remove the line for the default, "1m"`)
	c.Log.Validate(&p)
	c.ZooKeeper.Validate(&p)
	p.ZNode("zookeeper.comet.path", c.ZooKeeper.Comet.Path)
	p.ZNode("zookeeper.message.path", c.ZooKeeper.Message.Path)
	p.ZNode("zookeeper.migrate.path", c.ZooKeeper.Migrate.Path)
	return p.Err()
}

// rules reads the secrets of a valid configuration.
func (c Config) rules() (*rules, error) {
	admin, adminErr := c.Admin.Secret()
	token, tokenErr := c.Token.Secret()
	var p config.Problems
	p.Add(adminErr)
	p.Add(tokenErr)
	return &rules{
		auth:        c.Auth,
		adminSecret: admin.Bytes(),
		adminAllow:  c.Admin.Networks(),
		tokenSecret: token.Bytes(),
		tokenAllow:  c.Token.Networks(),
	}, p.Err()
}

// reloaded are the keys, and the tables of keys, that a running daemon takes
// over. The log's detail is not ours to change, but whoever reads the file does.
var reloaded = []string{"admin.allow", "admin.secret_file", "auth", "log.", "rpc.allow", "rpc.secret_file", "token."}

// restart returns the keys that differ in next and need a restart.
func (c Config) restart(next Config) []string {
	return config.Restart(c, next, reloaded)
}
