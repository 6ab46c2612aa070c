package message

import (
	"strings"

	"gopush-cluster/internal/config"
)

// MySQLSource is where a shard in MySQL is: "user@tcp(host:port)/database",
// "user:password@tcp(host:port)/database" or the same with "unix(/path)".
type MySQLSource struct {
	Network, Address, Database, User string
	Password                         config.Secret

	problem string // what is wrong with it, without the password
}

// UnmarshalText implements encoding.TextUnmarshaler. Like Source's, it leaves what
// is wrong to Validate.
func (s *MySQLSource) UnmarshalText(text []byte) error {
	*s = MySQLSource{}
	// From behind: a password may hold whatever parts the rest.
	place, login := string(text), ""
	if i := strings.LastIndexByte(place, '@'); i >= 0 {
		login, place = place[:i], place[i+1:]
	}
	user, password, secret := strings.Cut(login, ":")
	s.User = user
	if secret {
		s.Password = config.NewSecret([]byte(password))
	}
	network, place, ok1 := strings.Cut(place, "(")
	address, database, ok2 := strings.Cut(place, ")/")
	s.Network, s.Address, s.Database = network, address, database
	switch {
	case !ok1 || !ok2 || user == "" || network != "tcp" && network != "unix":
		s.problem = `want "user@tcp(host:port)/database" or "user@unix(/path)/database", with ":password" behind the user if there is one`
	case secret && password == "":
		s.problem = "the password behind : is empty; remove the : if there is none"
	case network == "unix" && !strings.HasPrefix(address, "/"):
		s.problem = "want an absolute path in unix()"
	case network == "tcp" && !validAddr(address):
		s.problem = "want host:port with a port 1..65535 in tcp()"
	case database == "" || strings.ContainsAny(database, "/?"):
		s.problem = "want the name of a database behind )/ and nothing else there"
	}
	if s.problem != "" { // the password may stand where it was not looked for
		*s = MySQLSource{problem: s.problem}
	}
	return nil
}

// place names the database, whoever asks.
func (s MySQLSource) place() string { return s.Network + "(" + s.Address + ")/" + s.Database }

func (s MySQLSource) wrong() string         { return s.problem }
func (s MySQLSource) secret() config.Secret { return s.Password }

// String returns where the shard is, without the password.
func (s MySQLSource) String() string { return s.User + "@" + s.place() }

// MarshalText returns String, so that a printed configuration has no password.
func (s MySQLSource) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
