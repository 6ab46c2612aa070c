package rpcnet

import (
	"net/netip"
	"sync/atomic"
)

// Trust is what a daemon's server and clients go by when a connection begins:
// the secret that both ends must know, and who may go without. One Trust is
// shared by all of them, and Set replaces what it says for the connections that
// follow; those that stand are left alone. The nil Trust has no secret, and
// trusts loopback peers only.
type Trust struct{ terms atomic.Pointer[terms] }

type terms struct {
	// secret is what both ends must know. Empty: there is no handshake, and
	// only loopback peers and those in plain are spoken to.
	secret []byte
	// plain are the networks whose peers may call without a secret, and where
	// one that hangs up on the handshake (an old daemon) is called without.
	plain []netip.Prefix
}

// NewTrust returns a Trust that goes by secret and plain.
func NewTrust(secret []byte, plain []netip.Prefix) *Trust {
	t := new(Trust)
	t.Set(secret, plain)
	return t
}

// Set replaces the secret and the networks that go without.
func (t *Trust) Set(secret []byte, plain []netip.Prefix) { t.terms.Store(&terms{secret, plain}) }

func (t *Trust) load() terms {
	if t == nil {
		return terms{}
	}
	return *t.terms.Load()
}
