package message

import (
	"slices"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/registry"
)

// DefaultRedisPrefix begins the names of message sets in a Redis of our own.
const DefaultRedisPrefix = "gopush:m:"

// The kinds of storage.
const (
	Redis    = "redis"    // shards, for many message daemons
	MySQL    = "mysql"    // shards as well, in databases
	Embedded = "embedded" // one file, for one daemon
)

// What "stored" means in Redis and MySQL.
const (
	Memory  = "memory"  // the server has it; how durable that is, is up to its own settings
	Fsync   = "fsync"   // it is on the server's disk: one that is set up otherwise is refused
	Replica = "replica" // a replica of the Redis has it, too
)

// Config is the file of a message daemon, conf/message.toml.
type Config struct {
	RPC       RPC          `toml:"rpc"`
	Node      Node         `toml:"node"`
	Storage   Storage      `toml:"storage"`
	Redis     RedisConfig  `toml:"redis"`
	MySQL     MySQLConfig  `toml:"mysql"`
	Token     Token        `toml:"token"`
	Stat      config.Local `toml:"stat"`
	Pprof     config.Local `toml:"pprof"`
	Log       config.Log   `toml:"log"`
	ZooKeeper ZooKeeper    `toml:"zookeeper"`
}

type (
	// RPC is how comets and webs call. A message daemon calls nobody.
	RPC struct {
		config.Listen
		config.Trust
		// Timeout is how long a call may take whose caller names no budget of its
		// own, and the most that a caller may have, 100ms..1m. It bounds how long a
		// hung store holds its callers; too short fails calls that a busy one would
		// have answered.
		Timeout config.Duration `toml:"timeout"`
	}

	// Node is this daemon among the others.
	Node struct {
		// Weight is its share of the calls, 1..100, relative to the other message
		// daemons' weights.
		Weight int `toml:"weight"`
	}

	// Storage is where messages are kept.
	Storage struct {
		// Type is Redis, MySQL or Embedded. All message daemons of a cluster keep to
		// the same stores, so a cluster with more than one wants Redis or MySQL.
		Type string `toml:"type"`
		// Store is how many messages are kept for a key, the newest, 1..1000. More
		// spares clients that were away for long a gap, at the price of memory, and
		// of work for each save of a key that has as many.
		Store int `toml:"store"`
		// Path is the folder of the Embedded file. One daemon at a time uses it.
		Path string `toml:"path"`
	}

	// RedisConfig is the shards in Redis. It counts with Type Redis only.
	RedisConfig struct {
		// Prefix begins the names of the message sets. Empty where old daemons use
		// the same Redis: they know no prefix. Then nothing that we write there
		// gets a time to live, and keys that begin with gopush: are refused.
		Prefix string `toml:"prefix"`
		// Timeout is how long an unused connection is kept, 1s..24h. Keep it below
		// Redis' own timeout, if that is set.
		Timeout config.Duration `toml:"timeout"`
		// Idle is how many unused connections to a shard are kept, 1..Active. Fewer
		// means dialing after each lull.
		Idle int `toml:"idle"`
		// Active is how many connections to a shard there may be, 1..10000. Calls
		// beyond wait, within their time.
		Active int `toml:"active"`
		// Durability is what an acknowledged message survives: Memory, Fsync or
		// Replica. The latter two cost each save a wait for the disk or for another
		// machine.
		Durability string `toml:"durability"`
		// AllowEviction lets a Redis be used whose maxmemory-policy is not
		// noeviction. It then drops messages that were acknowledged when it is full.
		AllowEviction bool `toml:"allow_eviction"`
		// Store is Storage.Store's old name.
		Store int `toml:"store"`
		// Source are the shards, "<node>:<weight>" → where, the same on all message
		// daemons. A key belongs to one of them by its hash.
		Source map[string]Source `toml:"source"`
	}

	// MySQLConfig is the shards in databases of MySQL or MariaDB. It counts with Type
	// MySQL only.
	MySQLConfig struct {
		// Clean is how long it is between two searches for rows that have expired,
		// 1s..1h. They are not served in any case: rarer keeps more of them, at no
		// other price than room on disk; more often asks the database for nothing.
		Clean config.Duration `toml:"clean"`
		// Timeout, Idle and Active are as in RedisConfig.
		Timeout config.Duration `toml:"timeout"`
		Idle    int             `toml:"idle"`
		Active  int             `toml:"active"`
		// Durability is what an acknowledged message survives: Memory or Fsync.
		Durability string `toml:"durability"`
		// Source are the shards, as in RedisConfig.
		Source map[string]MySQLSource `toml:"source"`
	}

	// Token is how tokens are kept.
	Token struct {
		// PepperFile holds a secret that goes into the hash of each token, the same
		// on all message daemons. Without it, whoever reads the store can try out
		// likely tokens. Another pepper makes all tokens unknown.
		PepperFile string `toml:"pepper_file"`
	}

	// ZooKeeper is where the daemons find each other.
	ZooKeeper struct {
		config.ZooKeeper
		Comet   config.Path `toml:"comet"`   // the ring
		Message config.Path `toml:"message"` // the message daemons
	}
)

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		RPC: RPC{
			Listen:  config.Listen{Bind: []string{"localhost:9989"}},
			Timeout: config.DefaultCalls().Timeout,
		},
		Node:    Node{Weight: 1},
		Storage: Storage{Type: Redis, Store: 20, Path: "data"},
		Redis: RedisConfig{
			Prefix:  DefaultRedisPrefix,
			Timeout: config.Duration(5 * time.Minute),
			Idle:    16,
			Active:  64,

			Durability: Memory,
			Source:     map[string]Source{"node1:1": {Network: "tcp", Address: "localhost:6379"}},
		},
		MySQL: MySQLConfig{
			Clean:   config.Duration(time.Minute),
			Timeout: config.Duration(5 * time.Minute),
			Idle:    16,
			Active:  64,

			Durability: Memory,
			Source: map[string]MySQLSource{"node1:1": {
				Network: "tcp", Address: "localhost:3306", Database: "gopush", User: "gopush",
			}},
		},
		Stat:  config.Local{Bind: []string{"localhost:8172"}},
		Pprof: config.Local{Bind: []string{"localhost:8170"}},
		ZooKeeper: ZooKeeper{
			ZooKeeper: config.DefaultZooKeeper(),
			Comet:     config.Path{Path: "/gopush-cluster-comet"},
			Message:   config.Path{Path: "/gopush-cluster-message"},
		},
	}
}

// Validate checks every key, and that the secrets can be read. Its error is a
// *config.Error with all that is wrong.
func (c Config) Validate() error {
	var p config.Problems
	c.RPC.Listen.Validate("rpc", &p)
	c.RPC.Trust.Validate("rpc", c.RPC.Bind, &p)
	p.Duration("rpc.timeout", c.RPC.Timeout, 100*time.Millisecond, time.Minute, `remove the line for the default, "2s"`)
	p.Between("node.weight", c.Node.Weight, registry.MinWeight, registry.MaxWeight, "remove the line for the default, 1")
	c.validateStorage(&p)
	if _, err := c.pepper(); err != nil {
		p.Addf("token.pepper_file: %w", err)
	}
	c.Stat.Validate("stat", &p)
	c.Pprof.Validate("pprof", &p)
	p.Apart(c)
	c.Log.Validate(&p)
	c.ZooKeeper.Validate(&p)
	p.ZNode("zookeeper.comet.path", c.ZooKeeper.Comet.Path)
	p.ZNode("zookeeper.message.path", c.ZooKeeper.Message.Path)
	return p.Err()
}

func (c Config) validateStorage(p *config.Problems) {
	p.OneOf("storage.type", c.Storage.Type, Redis, MySQL, Embedded)
	p.Between("storage.store", c.Storage.Store, 1, 1000, "remove the line for the default, 20")
	switch c.Storage.Type {
	case Embedded:
		if c.Storage.Path == "" {
			p.Addf(`storage.path = "": want a folder; remove the line for the default, "data"`)
		}
	case MySQL:
		c.MySQL.validate(p)
	default:
		c.validateRedis(p)
	}
}

func (m MySQLConfig) validate(p *config.Problems) {
	p.Duration("mysql.clean", m.Clean, time.Second, time.Hour, `remove the line for the default, "1m"`)
	p.Duration("mysql.timeout", m.Timeout, time.Second, 24*time.Hour, `remove the line for the default, "5m"`)
	p.Between("mysql.active", m.Active, 1, 10000, "remove the line for the default, 64")
	p.Between("mysql.idle", m.Idle, 1, max(m.Active, 1), "keep it at most mysql.active")
	p.OneOf("mysql.durability", m.Durability, Memory, Fsync)
	validateSources("mysql.source", `"node1:1" = "gopush:password@tcp(localhost:3306)/gopush"`, "database", m.Source, p)
}

func (c Config) validateRedis(p *config.Problems) {
	r := c.Redis
	if def := DefaultConfig().Storage.Store; r.Store != 0 {
		p.Between("redis.store", r.Store, 1, 1000, "write it as storage.store")
		if c.Storage.Store != def && c.Storage.Store != r.Store {
			p.Addf("redis.store = %d: storage.store = %d is the same setting; remove redis.store, its old name", r.Store, c.Storage.Store)
		}
	}
	if bad := (&redisStore{redisOptions: redisOptions{Prefix: r.Prefix}}).reserved(""); bad {
		p.Addf(`redis.prefix = %q: would mix messages with our other names; remove the line for the default, %q`, r.Prefix, DefaultRedisPrefix)
	}
	p.Duration("redis.timeout", r.Timeout, time.Second, 24*time.Hour, `remove the line for the default, "5m"`)
	p.Between("redis.active", r.Active, 1, 10000, "remove the line for the default, 64")
	p.Between("redis.idle", r.Idle, 1, max(r.Active, 1), "keep it at most redis.active")
	p.OneOf("redis.durability", r.Durability, Memory, Fsync, Replica)
	validateSources("redis.source", `"node1:1" = "tcp@localhost:6379"`, "Redis", r.Source, p)
}

// keep returns how many messages are kept for a key, by whichever name.
func (c Config) keep() int {
	if c.Storage.Type == Redis && c.Redis.Store != 0 {
		return c.Redis.Store
	}
	return c.Storage.Store
}

// pepper reads the pepper; without a file it is the zero Secret.
func (c Config) pepper() (config.Secret, error) {
	if c.Token.PepperFile == "" {
		return config.Secret{}, nil
	}
	return config.ReadSecret(c.Token.PepperFile)
}

// reloaded are the keys that a running daemon takes over from its file.
var reloaded = []string{"log.v", "node.weight", "storage.store", "redis.store", "rpc.allow", "rpc.secret_file", "token.pepper_file"}

// restart returns the keys that differ in next and want a restart.
func (c Config) restart(next Config) []string {
	return slices.DeleteFunc(config.Restart(c, next, reloaded), func(key string) bool {
		return key == "redis.source" && sameSources(c.Redis.Source, next.Redis.Source) ||
			key == "mysql.source" && sameSources(c.MySQL.Source, next.MySQL.Source)
	})
}
