package client

import (
	"errors"
	"fmt"

	"gopush-cluster/internal/wire"
)

// These end a subscription: trying again would not help.
var (
	// ErrParam means that an option is wrong: ours to see (Options), or what
	// comet (-p) or web (65534) says.
	ErrParam = errors.New("client: a parameter is wrong")
	// ErrAuth means that the key has a live token, but not the one given. Wire: -a.
	ErrAuth = errors.New("client: the token is not one of the key's")
	// ErrNoChannel means that the key has no live token where one is needed, or
	// has too many sockets already. Wire: -c.
	ErrNoChannel = errors.New("client: the key has no live token, or too many connections")
)

// These are told to Options.OnState; the client tries again.
var (
	// ErrWrongNode means that the key lives on another comet by now. Wire: -n.
	ErrWrongNode = errors.New("client: the key moved to another comet")
	// ErrNoComet means that web knows no comet that serves the key. Code 1001.
	ErrNoComet = errors.New("client: there is no comet for the key")
	// ErrClosed means that the comet closed the connection without a word.
	ErrClosed = errors.New("client: the comet closed the connection")
	// ErrSilent means that the answer to a heartbeat is overdue.
	ErrSilent = errors.New("client: the comet does not answer heartbeats")
	// ErrProtocol means that the server said what no server says.
	ErrProtocol = errors.New("client: the server breaks the protocol")
)

// final marks an error that ends the subscription.
type final struct{ err error }

func (f *final) Error() string { return f.err.Error() }
func (f *final) Unwrap() error { return f.err }

// refusal is what a reply means that is not wire.Accepted.
func refusal(r wire.Reply) error {
	switch r {
	case wire.BadParam:
		return &final{ErrParam}
	case wire.AuthFailed:
		return &final{ErrAuth}
	case wire.NoChannel:
		return &final{ErrNoChannel}
	case wire.WrongNode:
		return ErrWrongNode
	}
	return fmt.Errorf("%w: reply %.8q", ErrProtocol, string(r))
}
