package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gopush-cluster/internal/config"
)

// rules is who may do what. It is never changed; Reload puts another in its
// place.
type rules struct {
	auth        bool // msg/get wants a token
	adminSecret []byte
	adminAllow  []netip.Prefix
	tokenSecret []byte
	tokenAllow  []netip.Prefix
}

// guardAdmin decides who may use admin.bind: nobody through a browser on
// another site; then who knows the secret, who comes from a network that needs
// none, and, where there is no secret, who is on this machine. Behind a proxy
// everybody seems to be where the proxy is, so whoever it names has to be as
// near as itself: what a header says takes a right away and never gives one.
func (s *Server) guardAdmin(r *http.Request) error {
	rule := s.rules.Load()
	if crossSite(r) {
		return forbidden("a page of another site may not call this port")
	}
	peer := peerOf(r)
	behind, named := sentOnFor(r)
	all := func(near func(netip.Addr) bool) bool {
		return named && near(peer) && !slices.ContainsFunc(behind, func(a netip.Addr) bool { return !near(a) })
	}
	allowed := func(a netip.Addr) bool { return within(a, rule.adminAllow) }
	switch {
	case all(allowed):
		return nil
	case len(rule.adminSecret) > 0:
		if equal([]byte(bearer(r)), rule.adminSecret) {
			return nil
		}
		return &refusal{http.StatusUnauthorized, "send Authorization: Bearer and the secret of admin.secret_file"}
	case !peer.IsLoopback() && !allowed(peer):
		return forbidden("set admin.secret_file, or name this network in admin.allow")
	case !all(func(a netip.Addr) bool { return a.IsLoopback() || allowed(a) }):
		return forbidden("a proxy sent this on for somebody elsewhere: set admin.secret_file, or name the network in admin.allow")
	case all(netip.Addr.IsLoopback) && !loopbackHost(r):
		// A name that a page's owner points at this machine makes the browser
		// believe that we are that page's own site.
		return forbidden("call this port as localhost or 127.0.0.1, or set admin.secret_file")
	}
	return nil
}

func forbidden(text string) error { return &refusal{http.StatusForbidden, text} }

// bearer returns what follows "Authorization: Bearer ".
func bearer(r *http.Request) string {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// equal compares in a time that tells nothing of either.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// peerOf returns the address at the other end of the TCP connection, whatever
// headers say. The zero Addr is in no network.
func peerOf(r *http.Request) netip.Addr {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// crossSite reports whether a browser sent r for a page that is not ours. A
// request that is no browser's carries neither header.
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) { // "null" has no host
			return true
		}
	}
	return false
}

// forwarded reports whether a proxy sent r on for somebody else. A plain proxy
// adds no header, but speaks HTTP/1.0.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip"} {
		if _, ok := r.Header[name]; ok {
			return true
		}
	}
	return !r.ProtoAtLeast(1, 1)
}

// sentOnFor returns whom proxies sent r on for, as far as they say so. It is false
// if they say it in words that we do not read.
func sentOnFor(r *http.Request) (behind []netip.Addr, ok bool) {
	if len(r.Header["Forwarded"]) > 0 {
		return nil, false
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip"} {
		for _, list := range r.Header[name] {
			for text := range strings.SplitSeq(list, ",") {
				a, err := netip.ParseAddr(strings.TrimSpace(text))
				if err != nil {
					return nil, false
				}
				behind = append(behind, a.Unmap().WithZone(""))
			}
		}
	}
	return behind, true
}

// loopbackHost reports whether r was sent to a name that can only be this
// machine.
func loopbackHost(r *http.Request) bool { return config.Loopback(r.Host) }
