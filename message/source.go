package message

import (
	"bytes"
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"gopush-cluster/internal/config"
)

// Source is where a shard is: "tcp@host:port", "tcp@host:port#password",
// "unix@/path" or "unix@/path#password".
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
	case !ok || s.Network != "tcp" && s.Network != "unix":
		s.problem = `want "tcp@host:port" or "unix@/path", with "#password" behind it if there is one`
	case s.Network == "unix" && !strings.HasPrefix(s.Address, "/"):
		s.problem = "want an absolute path behind unix@"
	case s.Network == "tcp" && !validAddr(s.Address):
		s.problem = "want host:port with a port 1..65535 behind tcp@"
	case secret && password == "":
		s.problem = "the password behind # is empty; remove the # if there is none"
	}
	return nil
}

func validAddr(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && perr == nil && n > 0
}

// String returns where the shard is, without the password.
func (s Source) String() string { return s.Network + "@" + s.Address }

// MarshalText returns String, so that a printed configuration has no password.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// splitSource returns the parts of a key of redis.source, "<node>:<weight>".
func splitSource(key string) (node string, weight int, ok bool) {
	i := strings.LastIndexByte(key, ':')
	if i <= 0 {
		return "", 0, false
	}
	weight, err := strconv.Atoi(key[i+1:])
	return key[:i], weight, err == nil && weight >= 1 && weight <= 100
}

func validateSources(sources map[string]Source, p *config.Problems) {
	if len(sources) == 0 {
		p.Addf(`redis.source: no shards; name at least one, like "node1:1" = "tcp@localhost:6379"`)
	}
	nodes, places := make(map[string]string), make(map[string]string)
	for _, key := range slices.SortedFunc(maps.Keys(sources), cmp.Compare[string]) {
		node, _, ok := splitSource(key)
		s := sources[key]
		switch {
		case !ok:
			p.Addf(`redis.source: %q: want "<node>:<weight>" with a weight 1..100, like "node1:1"`, key)
		case nodes[node] != "":
			p.Addf("redis.source: %q and %q are the same node; remove one", nodes[node], key)
		case s.problem != "":
			p.Addf("redis.source: %q: %s", key, s.problem)
		case places[s.String()] != "":
			p.Addf("redis.source: %q and %q are the same Redis; remove one", places[s.String()], key)
		}
		nodes[node], places[s.String()] = key, key
	}
}

func sameSources(a, b map[string]Source) bool {
	return maps.EqualFunc(a, b, func(a, b Source) bool {
		return a.Network == b.Network && a.Address == b.Address && bytes.Equal(a.Password.Bytes(), b.Password.Bytes())
	})
}
