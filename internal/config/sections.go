package config

import (
	"net"
	"net/netip"
	"strings"
	"time"
)

// Listen is where a daemon accepts connections.
type Listen struct {
	// Bind are the addresses to listen on, host:port; port 0 takes a free one.
	Bind []string `toml:"bind"`
	// Advertise are the addresses that others are told; empty: those of Bind,
	// where a wildcard address stands for the machine's own if it has only one.
	Advertise []string `toml:"advertise"`
}

// Validate wants at least one address to bind, and addresses to advertise
// that can be dialed.
func (l Listen) Validate(prefix string, p *Problems) {
	p.Some(prefix+".bind", l.Bind)
	p.Addrs(prefix+".advertise", l.Advertise)
	for _, addr := range l.Advertise {
		if wildcard(addr) {
			p.Addf("%s.advertise = %q: others cannot dial a wildcard address; name a host", prefix, addr)
		}
	}
}

// Calls is how a daemon calls others.
type Calls struct {
	// Ping is how often each daemon is asked whether it is alive, 100ms..1m.
	// Shorter leaves a dead one out sooner, for one small call each time.
	Ping Duration `toml:"ping"`
	// Retry is the longest pause before a daemon that was out of reach is
	// dialed again, 10ms..1m. Longer leaves one that is back unused for longer.
	Retry Duration `toml:"retry"`
	// Timeout is how long a call may take, 100ms..1m. It bounds how long one
	// hung daemon holds its callers; too short fails calls that a busy one
	// would have answered.
	Timeout Duration `toml:"timeout"`
}

// DefaultCalls returns what an empty file means.
func DefaultCalls() Calls {
	return Calls{
		Ping:    Duration(time.Second),
		Retry:   Duration(time.Second),
		Timeout: Duration(2 * time.Second),
	}
}

// Validate checks the ranges.
func (c Calls) Validate(prefix string, p *Problems) {
	p.Duration(prefix+".ping", c.Ping, 100*time.Millisecond, time.Minute, `remove the line for the default, "1s"`)
	p.Duration(prefix+".retry", c.Retry, 10*time.Millisecond, time.Minute, `remove the line for the default, "1s"`)
	p.Duration(prefix+".timeout", c.Timeout, 100*time.Millisecond, time.Minute, `remove the line for the default, "2s"`)
}

// Trust is who may call a port that is not for the public.
type Trust struct {
	// SecretFile holds what callers must know; empty: no secret, and the port
	// is for this machine and the networks of Allow only.
	SecretFile string `toml:"secret_file"`
	// Allow are networks whose callers need no secret, for daemons and
	// back-ends that know of none. Each is a hole: keep it small.
	Allow []string `toml:"allow"`
}

// Validate wants a secret, or a list of who needs none, where a bind can be
// reached from another machine, and a secret file that can be read.
func (t Trust) Validate(prefix string, bind []string, p *Problems) {
	p.Networks(prefix+".allow", t.Allow)
	if t.SecretFile != "" {
		if _, err := ReadSecret(t.SecretFile); err != nil {
			p.Addf("%s.secret_file: %w", prefix, err)
		}
		return
	}
	if len(t.Allow) > 0 {
		return
	}
	for _, addr := range bind {
		if _, _, err := net.SplitHostPort(addr); err == nil && !Loopback(addr) {
			p.Addf("%s.bind = %q: can be reached from other machines; set %s.secret_file, or %s.allow to the networks that need no secret, or bind localhost",
				prefix, addr, prefix, prefix)
		}
	}
}

// Secret reads the secret; without a file it is the zero Secret.
func (t Trust) Secret() (Secret, error) {
	if t.SecretFile == "" {
		return Secret{}, nil
	}
	return ReadSecret(t.SecretFile)
}

// Networks returns Allow, once it was validated.
func (t Trust) Networks() []netip.Prefix { return Networks(t.Allow) }

// RPC is the section of a daemon that is called by others and calls others.
// One that does only half of it embeds the parts.
type RPC struct {
	Listen
	Calls
	Trust
}

// Validate checks all parts.
func (r RPC) Validate(prefix string, p *Problems) {
	r.Listen.Validate(prefix, p)
	r.Calls.Validate(prefix, p)
	r.Trust.Validate(prefix, r.Bind, p)
}

// Local is a port for the operators of this machine: statistics, profiles.
type Local struct {
	// Bind are loopback addresses to listen on; an empty list switches it off.
	Bind []string `toml:"bind"`
}

// Validate wants loopback addresses: what these ports tell is not for others.
func (l Local) Validate(prefix string, p *Problems) {
	p.Addrs(prefix+".bind", l.Bind)
	for _, addr := range l.Bind {
		if !Loopback(addr) {
			p.Addf("%s.bind = %q: want a loopback address, like \"localhost:6972\"; reach it from elsewhere through a tunnel", prefix, addr)
		}
	}
}

// ZooKeeper is the part of [zookeeper] that every daemon has.
type ZooKeeper struct {
	// Addr are the servers of the ensemble, host:port.
	Addr []string `toml:"addr"`
	// Timeout is the session timeout, 1s..5m. Shorter moves the keys of a dead
	// comet sooner; too short moves those of one that was only slow.
	Timeout Duration `toml:"timeout"`
}

// DefaultZooKeeper returns what an empty file means.
func DefaultZooKeeper() ZooKeeper {
	return ZooKeeper{Addr: []string{"localhost:2181"}, Timeout: Duration(10 * time.Second)}
}

// Validate checks addresses and range.
func (z ZooKeeper) Validate(p *Problems) {
	p.Some("zookeeper.addr", z.Addr)
	p.Duration("zookeeper.timeout", z.Timeout, time.Second, 5*time.Minute, `remove the line for the default, "10s"`)
}

// Path is a table that names a znode: comet.path and its like.
type Path struct {
	Path string `toml:"path"`
}

// ZNode wants path to be that of a znode: absolute, no empty part, no dots.
func (p *Problems) ZNode(key, path string) {
	if !validZNode(path) {
		p.Addf(`%s = %q: want an absolute path without a slash at its end, like "/gopush-cluster-comet"`, key, path)
	}
}

func validZNode(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return false
		}
	}
	return true
}

// Log is what a daemon logs.
type Log struct {
	// V is how much: 0 starts, stops and trouble, 1 also each session or refused
	// request, 2 also each message. The flag -v raises it.
	V int `toml:"v"`
}

// Validate checks the range.
func (l Log) Validate(p *Problems) {
	p.Between("log.v", l.V, 0, 2, "remove the line for the default, 0")
}
