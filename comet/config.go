package comet

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/registry"
)

// Config is comet's configuration file. The fields' comments give meaning, unit,
// range and the cost of each direction; conf/comet.toml carries the same text.
type Config struct {
	TCP       config.Listen `toml:"tcp"`       // for TCP clients
	WebSocket WebSocket     `toml:"websocket"` // for WebSocket clients
	RPC       config.RPC    `toml:"rpc"`       // for web and the other comets
	ZooKeeper ZooKeeper     `toml:"zookeeper"`
	Channel   Channel       `toml:"channel"`
	Outbuf    Outbuf        `toml:"outbuf"`
	Legacy    Legacy        `toml:"legacy"`
	Migrate   Migrate       `toml:"migrate"`
	Drain     Drain         `toml:"drain"`
	Log       config.Log    `toml:"log"`
	Stat      config.Local  `toml:"stat"`
	Pprof     config.Local  `toml:"pprof"`
}

// WebSocket is where WebSocket clients connect, and from which pages.
type WebSocket struct {
	config.Listen
	// Origins are the pages that may connect, scheme://host[:port], or "*" for
	// all. A client without an Origin is no browser and always welcome. Nothing
	// is authorised by a cookie, so "*" gives no page more than its user has.
	Origins []string `toml:"origins"`
}

// ZooKeeper is where comet registers and finds the message daemons.
type ZooKeeper struct {
	config.ZooKeeper
	Comet   CometNode   `toml:"comet"`
	Message config.Path `toml:"message"`
}

// CometNode is this comet's place in the ring.
type CometNode struct {
	Path string `toml:"path"` // parent of all nodes
	// Node is the name of the place. Two comets with one name are one active
	// and one hot standby.
	Node string `toml:"node"`
	// Weight is the comet's share of the keys against the others', 1..100.
	Weight int `toml:"weight"`
}

// Channel bounds what one key may use.
type Channel struct {
	// MaxSubscriber is how many sockets one key may have, 1..65536. Each costs
	// a connection; a client that leaks sockets is stopped here.
	MaxSubscriber int `toml:"maxsubscriber"`
	// Auth asks each client for a token that /1/token/add stored.
	Auth bool `toml:"auth"`
	// MsgBuf is how many messages may wait for one session before it is ended,
	// 1..65536; its client then asks for what it missed. Higher rides out
	// bursts, at the price of that many messages of memory for each slow client.
	MsgBuf int `toml:"msgbuf"`
	// Bucket is into how many parts the table of channels is split, 1..65536.
	// More parts contend less; each costs some hundred bytes.
	Bucket int    `toml:"bucket"`
	SndBuf Buffer `toml:"sndbuf"` // the kernel's send buffer of a socket; "0B" leaves it to the kernel
	RcvBuf Buffer `toml:"rcvbuf"` // the kernel's receive buffer of a socket; "0B" leaves it to the kernel
	TCP    Keep   `toml:"tcp"`
}

// Buffer is the size of a kernel buffer.
type Buffer struct {
	Size config.Size `toml:"size"`
}

// Keep says whether the kernel probes silent peers.
type Keep struct {
	Keepalive bool `toml:"keepalive"`
}

// Outbuf bounds what waits for clients that read slowly.
type Outbuf struct {
	Bytes config.Size `toml:"bytes"` // for one session, 4KB..1GB; one message always fits
	Total config.Size `toml:"total"` // for all sessions together, 1MB..1TB; beyond it sessions that are behind are ended
}

// Legacy is patience with clients that fetch by themselves.
type Legacy struct {
	// Hold is how long live messages wait after +h, 0s..10s, so that the
	// client's own /1/msg/get is answered first. Longer is safer on slow
	// networks, and delays the first live message after a connect.
	Hold config.Duration `toml:"hold"`
}

// Migrate paces what a change of the ring sends away, and what comes back after a
// restart in place.
type Migrate struct {
	Rate int `toml:"rate"` // sessions a second, 1..1000000
}

// Drain bounds the end.
type Drain struct {
	Timeout config.Duration `toml:"timeout"` // from SIGTERM to the last session's end, 1s..1h
	// Keep is how long the place in the ring waits after the end of the drain,
	// 0s..1h, for a restart in place: no key moves, and what is pushed meanwhile
	// is stored. Longer forgives a slower restart; if the comet does not come
	// back, its clients wait that long for another one. 0s gives the place up.
	Keep config.Duration `toml:"keep"`
}

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		TCP:       config.Listen{Bind: []string{"localhost:6969"}},
		WebSocket: WebSocket{Listen: config.Listen{Bind: []string{"localhost:6968"}}, Origins: []string{"*"}},
		RPC:       config.RPC{Listen: config.Listen{Bind: []string{"localhost:6970"}}, Calls: config.DefaultCalls()},
		ZooKeeper: ZooKeeper{
			ZooKeeper: config.DefaultZooKeeper(),
			Comet:     CometNode{Path: "/gopush-cluster-comet", Node: "node1", Weight: 1},
			Message:   config.Path{Path: "/gopush-cluster-message"},
		},
		Channel: Channel{MaxSubscriber: 64, MsgBuf: 128, Bucket: 256, TCP: Keep{Keepalive: true}},
		Outbuf:  Outbuf{Bytes: 256 * config.KB, Total: 256 * config.MB},
		Legacy:  Legacy{Hold: config.Duration(time.Second)},
		Migrate: Migrate{Rate: 2000},
		Drain:   Drain{Timeout: config.Duration(60 * time.Second)},
		Stat:    config.Local{Bind: []string{"localhost:6972"}},
		Pprof:   config.Local{Bind: []string{"localhost:6971"}},
	}
}

// Validate returns a *config.Error with everything that is wrong, or nil.
func (c Config) Validate() error {
	var p config.Problems
	c.TCP.Validate("tcp", &p)
	c.WebSocket.Listen.Validate("websocket", &p)
	for _, o := range c.WebSocket.Origins {
		if !validOrigin(o) {
			p.Addf(`websocket.origins = %q: want "*" or scheme://host[:port], such as "https://app.example.com"`, o)
		}
	}
	c.RPC.Validate("rpc", &p)
	c.ZooKeeper.Validate(&p)
	p.ZNode("zookeeper.comet.path", c.ZooKeeper.Comet.Path)
	p.ZNode("zookeeper.message.path", c.ZooKeeper.Message.Path)
	if n := c.ZooKeeper.Comet.Node; n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/\x00") {
		p.Addf("zookeeper.comet.node = %q: want the name of a znode, without a slash; each place in the ring has its own", n)
	}
	p.Between("zookeeper.comet.weight", c.ZooKeeper.Comet.Weight, registry.MinWeight, registry.MaxWeight, "remove the line for the default, 1")
	p.Between("channel.maxsubscriber", c.Channel.MaxSubscriber, 1, 65536, "remove the line for the default, 64")
	p.Between("channel.msgbuf", c.Channel.MsgBuf, 1, 65536, "remove the line for the default, 128")
	p.Between("channel.bucket", c.Channel.Bucket, 1, 65536, "remove the line for the default, 256")
	p.Size("channel.sndbuf.size", c.Channel.SndBuf.Size, 0, config.GB, `"0B" leaves it to the kernel`)
	p.Size("channel.rcvbuf.size", c.Channel.RcvBuf.Size, 0, config.GB, `"0B" leaves it to the kernel`)
	p.Size("outbuf.bytes", c.Outbuf.Bytes, 4*config.KB, config.GB, `remove the line for the default, "256KB"`)
	p.Size("outbuf.total", c.Outbuf.Total, config.MB, 1024*config.GB, `remove the line for the default, "256MB"`)
	p.Duration("legacy.hold", c.Legacy.Hold, 0, 10*time.Second, `remove the line for the default, "1s"`)
	p.Between("migrate.rate", c.Migrate.Rate, 1, 1_000_000, "remove the line for the default, 2000")
	p.Duration("drain.timeout", c.Drain.Timeout, time.Second, time.Hour, `remove the line for the default, "1m"`)
	p.Duration("drain.keep", c.Drain.Keep, 0, time.Hour, `remove the line for the default, "0s", which gives the place up`)
	c.Log.Validate(&p)
	c.Stat.Validate("stat", &p)
	c.Pprof.Validate("pprof", &p)
	p.Apart(c)
	return p.Err()
}

// validOrigin reports whether o is "*" or an origin as browsers send it.
func validOrigin(o string) bool {
	if o == "*" {
		return true
	}
	u, err := url.Parse(o)
	return err == nil && u.Scheme != "" && u.Host != "" && u.Scheme+"://"+u.Host == o
}

// welcome reports whether a page of that origin may connect.
func (w WebSocket) welcome(origin string) bool {
	return origin == "" || slices.ContainsFunc(w.Origins, func(o string) bool {
		return o == "*" || strings.EqualFold(o, origin)
	})
}

// limits returns what SIGHUP may change, in the units of the outbox.
func (c Config) limits() limits {
	return limits{
		sessions: c.Channel.MaxSubscriber,
		queue:    c.Channel.MsgBuf,
		hold:     c.Legacy.Hold.D(),
		bytes:    int(c.Outbuf.Bytes),
		total:    int64(c.Outbuf.Total),
	}
}
