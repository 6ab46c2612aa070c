package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"syscall"
)

// Bind listens on addrs, which stand under bind in section. After an error
// nothing is open.
func Bind(section string, addrs []string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("%s.bind = %q: %w", section, addr, explain(err))
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// Apart wants no two bind keys of config, a struct such as a daemon's Config,
// to name one port: the second could not be had. Port 0 is a new one each time.
func (p *Problems) Apart(config any) {
	type named struct{ key, addr string }
	var seen []named
	values := reflect.ValueOf(config)
	for _, key := range Keys(config) {
		if !strings.HasSuffix(key, ".bind") {
			continue
		}
		var here []named
		for _, addr := range field(values, key).Interface().([]string) {
			for _, s := range seen {
				if collide(s.addr, addr) {
					p.Addf("%s = %q: the same port as %s = %q; choose another", key, addr, s.key, s.addr)
				}
			}
			here = append(here, named{key, addr})
		}
		seen = append(seen, here...)
	}
}

// collide reports whether a socket bound to a keeps one from being bound to b.
// Names other than localhost are not looked up.
func collide(a, b string) bool {
	if port := portOf(a); port == "" || port == "0" || port != portOf(b) {
		return false
	}
	x, y := bindHost(a), bindHost(b)
	if x == y {
		return true
	}
	v4 := func(host string) bool { ip, err := netip.ParseAddr(host); return err == nil && ip.Is4() }
	covers := func(all, one string) bool {
		return all == "::" || all == "0.0.0.0" && v4(one)
	}
	return covers(x, y) || covers(y, x)
}

// bindHost returns the host of addr as net.Listen takes it: both families where
// none is given, and of localhost the IPv4 address.
func bindHost(addr string) string {
	switch host := strings.ToLower(hostOf(addr)); host {
	case "":
		return "::"
	case "localhost":
		return "127.0.0.1"
	default:
		return host
	}
}

// explain adds to why an address cannot be had what to do about it.
func explain(err error) error {
	var no syscall.Errno // what net says around it repeats the address
	if !errors.As(err, &no) {
		return err
	}
	switch no {
	case syscall.EADDRINUSE:
		return fmt.Errorf("%w; stop the program that has it (ss -ltnp shows which), or choose another port", no)
	case syscall.EADDRNOTAVAIL:
		return fmt.Errorf("%w: it is none of this machine's; choose one that is (ip addr shows them)", no)
	case syscall.EACCES:
		return fmt.Errorf("%w; choose a port from 1024 up, or allow it: setcap cap_net_bind_service=+ep on the program", no)
	}
	return err
}

// Open binds l, which stands in section, and returns the listeners with the
// addresses that others are told: those of Advertise if there are any, else
// those of Bind with the real port in place of 0, and a wildcard host replaced
// by the machine's one address that is not loopback. After an error nothing is
// open.
func (l Listen) Open(section string) (listeners []net.Listener, told []string, err error) {
	if listeners, err = Bind(section, l.Bind); err != nil {
		return nil, nil, err
	}
	bound := make([]string, len(listeners))
	for i, ln := range listeners {
		bound[i] = net.JoinHostPort(hostOf(l.Bind[i]), portOf(ln.Addr().String()))
	}
	if told, err = advertise(section, bound, l.Advertise, net.InterfaceAddrs); err != nil {
		closeAll(listeners)
		return nil, nil, err
	}
	return listeners, told, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}
