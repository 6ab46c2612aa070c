package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Error is everything that is wrong with a configuration.
type Error struct {
	Path     string  // of the file; "" where only the values are known
	Problems []error // key, value, rule and fix; at least one
}

// Error has one line for each problem.
func (e *Error) Error() string {
	head := e.Path
	if head == "" {
		head = "configuration"
	}
	if len(e.Problems) == 1 {
		return head + ": " + e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d problems", head, len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.Error())
	}
	return b.String()
}

// Unwrap returns the problems.
func (e *Error) Unwrap() []error { return e.Problems }

// Problems collects what is wrong with a configuration, so that all of it
// comes out in one go. The zero value is ready.
type Problems struct {
	path string
	all  []error
}

// Err returns an *Error, or nil if there is no problem.
func (p *Problems) Err() error {
	if len(p.all) == 0 {
		return nil
	}
	return &Error{Path: p.path, Problems: p.all}
}

// Addf adds a problem; format should give key, value, rule and fix.
func (p *Problems) Addf(format string, args ...any) {
	p.all = append(p.all, fmt.Errorf(format, args...))
}

// Add adds what another part found: each problem of an *Error, or err itself.
// A nil err adds nothing.
func (p *Problems) Add(err error) {
	var e *Error
	switch {
	case errors.As(err, &e):
		p.all = append(p.all, e.Problems...)
	case err != nil:
		p.all = append(p.all, err)
	}
}

// Between wants lo <= v <= hi; fix says what to do instead.
func (p *Problems) Between(key string, v, lo, hi int, fix string) {
	if v < lo || v > hi {
		p.Addf("%s = %d: want %d..%d; %s", key, v, lo, hi, fix)
	}
}

// Duration wants lo <= d <= hi.
func (p *Problems) Duration(key string, d Duration, lo, hi time.Duration, fix string) {
	if d.D() < lo || d.D() > hi {
		p.Addf("%s = %q: want %q..%q; %s", key, d, Duration(lo), Duration(hi), fix)
	}
}

// Size wants lo <= s <= hi.
func (p *Problems) Size(key string, s, lo, hi Size, fix string) {
	if s < lo || s > hi {
		p.Addf("%s = %q: want %q..%q; %s", key, s, lo, hi, fix)
	}
}

// OneOf wants v to be one of choices.
func (p *Problems) OneOf(key, v string, choices ...string) {
	for _, c := range choices {
		if v == c {
			return
		}
	}
	p.Addf("%s = %q: want one of %q", key, v, choices)
}

// Addrs wants each of addrs to be host:port, and none of them twice. None at
// all is no problem.
func (p *Problems) Addrs(key string, addrs []string) {
	seen := make(map[string]bool, len(addrs))
	for _, addr := range addrs {
		if _, port, err := net.SplitHostPort(addr); err != nil {
			p.Addf(`%s = %q: want "host:port"`, key, addr)
		} else if n, err := strconv.ParseUint(port, 10, 16); err != nil {
			p.Addf("%s = %q: want a port 0..65535", key, addr)
		} else if seen[addr] && n != 0 {
			p.Addf("%s = %q: given twice; remove one", key, addr)
		}
		seen[addr] = true
	}
}

// Some wants at least one address, and all as Addrs does.
func (p *Problems) Some(key string, addrs []string) {
	if len(addrs) == 0 {
		p.Addf(`%s = []: want at least one "host:port"; remove the line for the default`, key)
	}
	p.Addrs(key, addrs)
}

// Networks wants each of nets to be an address or a prefix, and returns those
// that are.
func (p *Problems) Networks(key string, nets []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(nets))
	for _, s := range nets {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, aerr := netip.ParseAddr(s)
			if aerr != nil || addr.Zone() != "" {
				p.Addf(`%s = %q: want a network like "10.1.0.0/16" or an address like "10.1.2.3"`, key, s)
				continue
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
		}
		out = append(out, prefix.Masked())
	}
	return out
}

// Networks returns a list that was checked with Problems.Networks as prefixes;
// what is none is left out.
func Networks(nets []string) []netip.Prefix {
	var p Problems
	return p.Networks("", nets)
}
