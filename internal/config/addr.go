package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Loopback reports whether addr, host:port or a host alone, can be reached
// from this machine only. Of names only localhost is taken to be: what another
// resolves to may change.
func Loopback(addr string) bool {
	host := hostOf(addr)
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// wildcard reports whether addr, host:port, means every address of the machine.
func wildcard(addr string) bool {
	host := hostOf(addr)
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
}

// portOf returns the port of addr, host:port.
func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// advertise returns the addresses that others are told for section, such as
// "rpc": given if there are any, else those of bound. There a wildcard host
// becomes the machine's one address that is not loopback; where there is none,
// or more than one, the error names the key to set. addrs gives the machine's
// addresses.
func advertise(section string, bound, given []string, addrs func() ([]net.Addr, error)) ([]string, error) {
	if len(given) > 0 {
		return given, nil
	}
	told := make([]string, len(bound))
	for i, addr := range bound {
		told[i] = addr
		if !wildcard(addr) {
			continue
		}
		host, err := machineAddr(addrs)
		if err != nil {
			return nil, fmt.Errorf("%s.bind = %q: %w; set %s.advertise to what others should dial", section, addr, err, section)
		}
		told[i] = net.JoinHostPort(host, portOf(addr))
	}
	return told, nil
}

// machineAddr returns the one address others can dial. An IPv4 address goes
// before all IPv6 ones: clients in the field split host:port at the colon.
func machineAddr(addrs func() ([]net.Addr, error)) (string, error) {
	all, err := addrs()
	if err != nil {
		return "", err
	}
	var v4, v6 []string
	for _, a := range all {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipnet.IP)
		switch ip = ip.Unmap(); {
		case !ok || !ip.IsGlobalUnicast():
		case ip.Is4():
			v4 = append(v4, ip.String())
		default:
			v6 = append(v6, ip.String())
		}
	}
	candidates := v4
	if len(v4) == 0 {
		candidates = v6
	}
	switch len(candidates) {
	case 0:
		return "", fmt.Errorf("a wildcard address, and the machine has none that others can dial")
	case 1:
		return candidates[0], nil
	}
	return "", fmt.Errorf("a wildcard address, and the machine has several: %s", strings.Join(candidates, ", "))
}
