package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTrust(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		bind  []string
		trust Trust
		want  string // part of the problem; "": none
	}{
		{"loopback", []string{"localhost:1", "127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"}, Trust{}, ""},
		{"every address", []string{":6970"}, Trust{}, `admin.bind = ":6970": can be reached from other machines; set admin.secret_file`},
		{"a name", []string{"comet1:6970"}, Trust{}, "can be reached"},
		{"with a secret", []string{"10.0.0.1:1"}, Trust{SecretFile: secret}, ""},
		{"with a list", []string{"10.0.0.1:1"}, Trust{Allow: []string{"10.0.0.0/8"}}, ""},
		{"no such file", []string{"localhost:1"}, Trust{SecretFile: secret + "x"}, "admin.secret_file: open "},
		{"bad list", nil, Trust{Allow: []string{"10.0.0.0/8", "office"}}, `admin.allow = "office": want a network`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p Problems
			tt.trust.Validate("admin", tt.bind, &p)
			err := p.Err()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
	if s, err := (Trust{SecretFile: secret}).Secret(); err != nil || string(s.Bytes()) != "0123456789abcdef" {
		t.Errorf("Secret = %q, %v; want that of the file", s.Bytes(), err)
	}
	if s, err := (Trust{}).Secret(); err != nil || s.Bytes() != nil {
		t.Errorf("Secret without a file = %q, %v; want none", s.Bytes(), err)
	}
}

func TestNetworks(t *testing.T) {
	got := Networks([]string{"10.1.2.3/8", "10.1.2.3", "fd00::/8", "::ffff:10.0.0.0/104", "none", "fe80::1%eth0"})
	var want []netip.Prefix
	for _, s := range []string{"10.0.0.0/8", "10.1.2.3/32", "fd00::/8", "10.0.0.0/8"} {
		want = append(want, netip.MustParsePrefix(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("Networks = %v, want %v", got, want)
	}
}

func TestAddrs(t *testing.T) {
	var p Problems
	p.Addrs("tcp.bind", []string{"localhost:6969", "[::1]:6969", ":0", ":0", "a:65536", "b:http", "c", "localhost:6969"})
	err := p.Err()
	for _, want := range []string{`"a:65536": want a port`, `"b:http": want a port`, `"c": want "host:port"`, `"localhost:6969": given twice`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Addrs = %v, want %s in it", err, want)
		}
	}
	if len(p.all) != 4 {
		t.Errorf("%d problems, want 4: %v", len(p.all), err)
	}
}

func TestLocalStaysOnLoopback(t *testing.T) {
	var p Problems
	Local{Bind: []string{"localhost:6972", "0.0.0.0:6972"}}.Validate("stat", &p)
	Local{}.Validate("pprof", &p)
	if len(p.all) != 1 || !strings.Contains(p.all[0].Error(), `stat.bind = "0.0.0.0:6972": want a loopback address`) {
		t.Errorf("problems %v, want one for 0.0.0.0", p.all)
	}
}

func TestZNode(t *testing.T) {
	for path, good := range map[string]bool{
		"/a": true, "/a/b-c": true, "": false, "a": false, "/": false, "/a/": false, "/a//b": false, "/a/../b": false, "/a\x00": false,
	} {
		var p Problems
		p.ZNode("zookeeper.comet.path", path)
		if (p.Err() == nil) != good {
			t.Errorf("ZNode(%q) = %v, want good: %t", path, p.Err(), good)
		}
	}
}

func TestAdvertise(t *testing.T) {
	machine := func(cidrs ...string) func() ([]net.Addr, error) {
		return func() (out []net.Addr, _ error) {
			for _, s := range append([]string{"127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.1.1/16"}, cidrs...) {
				ip, n, err := net.ParseCIDR(s)
				if err != nil {
					return nil, err
				}
				out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			return out, nil
		}
	}
	tests := []struct {
		name            string
		bind, advertise []string
		addrs           func() ([]net.Addr, error)
		want            []string
		err             string
	}{
		{"given", []string{":1"}, []string{"push.example:1"}, machine(), []string{"push.example:1"}, ""},
		{"bound to one address", []string{"localhost:1", "10.0.0.1:0"}, nil, machine(), []string{"localhost:1", "10.0.0.1:0"}, ""},
		{"wildcard, one address", []string{":1", "0.0.0.0:2", "[::]:0"}, nil, machine("10.0.0.1/8"), []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:0"}, ""},
		{"IPv4 before IPv6", []string{":1"}, nil, machine("10.0.0.1/8", "fd00::1/64"), []string{"10.0.0.1:1"}, ""},
		{"IPv6 alone", []string{":1"}, nil, machine("fd00::1/64"), []string{"[fd00::1]:1"}, ""},
		{"wildcard, two addresses", []string{":1"}, nil, machine("10.0.0.1/8", "192.168.0.1/24"), nil,
			`rpc.bind = ":1": a wildcard address, and the machine has several: 10.0.0.1, 192.168.0.1; set rpc.advertise`},
		{"wildcard, none", []string{":1"}, nil, machine(), nil, "the machine has none that others can dial; set rpc.advertise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := advertise("rpc", tt.bind, tt.advertise, tt.addrs)
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("advertise = %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := advertise("rpc", []string{"localhost:1"}, nil, net.InterfaceAddrs); err != nil {
		t.Errorf("advertise on this machine = %v", err)
	}
}

func TestAdvertisedWildcardIsAProblem(t *testing.T) {
	var p Problems
	Listen{Bind: []string{":1"}, Advertise: []string{"0.0.0.0:1"}}.Validate("tcp", &p)
	Listen{}.Validate("rpc", &p)
	if len(p.all) != 2 || !strings.Contains(p.all[0].Error(), "others cannot dial a wildcard address") || !strings.Contains(p.all[1].Error(), "rpc.bind = []: want at least one") {
		t.Errorf("problems %v, want the wildcard and the empty bind", p.all)
	}
}
