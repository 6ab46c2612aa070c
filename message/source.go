package message

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"gopush-cluster/internal/config"
)

// Source is where a shard is: "tcp@host:port", "tcp@host:port#password",
// "unix@/path", "unix@/path#password", or "sentinel@host:port,host:port/name",
// the master of that name, with "#password" behind it if the Redis wants one.
type Source struct {
	Network, Address string
	Password         config.Secret

	problem string // what is wrong with it, without the password
}

// UnmarshalText implements encoding.TextUnmarshaler. It leaves what is wrong to
// Validate: an error of its own would be shown with the text, password and all.
func (s *Source) UnmarshalText(text []byte) error {
	place, password, secret := strings.Cut(string(text), "#")
	*s = Source{}
	if secret {
		s.Password = config.NewSecret([]byte(password))
	}
	var ok bool
	s.Network, s.Address, ok = strings.Cut(place, "@")
	switch {
	case !ok || s.Network != "tcp" && s.Network != "unix" && s.Network != sentinelNetwork:
		s.problem = `want "tcp@host:port", "unix@/path" or "sentinel@host:port,host:port/name", with "#password" behind it if there is one`
	case s.Network == sentinelNetwork && sentinelProblem(s.Address) != "":
		s.problem = sentinelProblem(s.Address)
	case s.Network == "unix" && !strings.HasPrefix(s.Address, "/"):
		s.problem = "want an absolute path behind unix@"
	case s.Network == "tcp" && !validAddr(s.Address):
		s.problem = "want host:port with a port 1..65535 behind tcp@"
	case secret && password == "":
		s.problem = "the password behind # is empty; remove the # if there is none"
	}
	return nil
}

// sentinelProblem says what is wrong with what follows sentinel@.
func sentinelProblem(address string) string {
	addrs, name := splitSentinels(address)
	if name == "" || strings.Trim(name, "-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return `want the name of the master behind the sentinels, as "sentinel monitor" has it: sentinel@host:26379,host:26379/mymaster`
	}
	seen := make(map[string]bool)
	for _, addr := range addrs {
		switch {
		case !validAddr(addr):
			return fmt.Sprintf("sentinel %q: want host:port with a port 1..65535, like host:26379 or [::1]:26379", addr)
		case seen[addr]:
			return fmt.Sprintf("sentinel %q is named twice; remove one", addr)
		}
		seen[addr] = true
	}
	return ""
}

func validAddr(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && !strings.Contains(host, " ") && perr == nil && n > 0
}

// String returns where the shard is, without the password.
func (s Source) String() string { return s.Network + "@" + s.Address }

// MarshalText returns String, so that a printed configuration has no password.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// splitSource returns the parts of a key of a source table, "<node>:<weight>".
func splitSource(key string) (node string, weight int, ok bool) {
	i := strings.LastIndexByte(key, ':')
	if i <= 0 {
		return "", 0, false
	}
	weight, err := strconv.Atoi(key[i+1:])
	return key[:i], weight, err == nil && weight >= 1 && weight <= 100
}

// sourced is what the sources of all kinds of shards have.
type sourced interface {
	wrong() string         // "": nothing
	place() string         // one store has one
	String() string        // without the password
	secret() config.Secret // the password
}

func (s Source) wrong() string         { return s.problem }
func (s Source) place() string         { return s.String() }
func (s Source) secret() config.Secret { return s.Password }

// validateSources checks the table key, where example is a line and kind what its
// values name.
func validateSources[S sourced](key, example, kind string, sources map[string]S, p *config.Problems) {
	if len(sources) == 0 {
		p.Addf("%s: no shards; name at least one, like %s", key, example)
	}
	nodes, places := make(map[string]string), make(map[string]string)
	for _, name := range slices.SortedFunc(maps.Keys(sources), cmp.Compare[string]) {
		node, _, ok := splitSource(name)
		s := sources[name]
		switch {
		case !ok:
			p.Addf(`%s: %q: want "<node>:<weight>" with a weight 1..100, like "node1:1"`, key, name)
		case nodes[node] != "":
			p.Addf("%s: %q and %q are the same node; remove one", key, nodes[node], name)
		case s.wrong() != "":
			p.Addf("%s: %q: %s", key, name, s.wrong())
		case places[s.place()] != "":
			p.Addf("%s: %q and %q are the same %s; remove one", key, places[s.place()], name, kind)
		}
		nodes[node], places[s.place()] = name, name
	}
}

func sameSources[S sourced](a, b map[string]S) bool {
	return maps.EqualFunc(a, b, func(a, b S) bool {
		return a.String() == b.String() && bytes.Equal(a.secret().Bytes(), b.secret().Bytes())
	})
}
