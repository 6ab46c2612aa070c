package comet

import (
	"errors"
	"os"

	"gopush-cluster/internal/wire"
)

var (
	// ErrNotOwner means the ring gives the key to another comet; the client must
	// ask web again. Wire: -n.
	ErrNotOwner = errors.New("comet: the key belongs to another node")
	// ErrToken means the key has a live token, but not the one given. Wire: -a.
	ErrToken = errors.New("comet: the token is not one of the key's")
	// ErrNoToken means the key has no live token. Wire: -c.
	ErrNoToken = errors.New("comet: the key has no live token")
	// ErrFull means the key has as many sockets as it may. Wire: -c.
	ErrFull = errors.New("comet: the key has too many sockets")
	// ErrBusy means that after a restart more clients came back than are let in
	// at a time; the client must come again. Wire: closed without a reply.
	ErrBusy = errors.New("comet: too many clients come back at a time")
	// ErrStore means the store did not answer. Wire: closed without a reply.
	ErrStore = errors.New("comet: the store does not answer")
)

// reply is the one place where an error becomes bytes for a client, and a count.
func reply(err error) (wire.Reply, refusal) {
	switch {
	case errors.Is(err, wire.ErrParam):
		return wire.BadParam, refuseParam
	case errors.Is(err, ErrNotOwner):
		return wire.WrongNode, refuseNotOwner
	case errors.Is(err, ErrToken):
		return wire.AuthFailed, refuseToken
	case errors.Is(err, ErrNoToken):
		return wire.NoChannel, refuseChannel
	case errors.Is(err, ErrFull):
		return wire.NoChannel, refuseFull
	case errors.Is(err, ErrBusy):
		return "", refuseBusy
	case errors.Is(err, ErrStore):
		return "", refuseStore
	case errors.Is(err, os.ErrDeadlineExceeded): // no command in time
		return "", refuseTimeout
	default: // not a command at all
		return "", refuseProtocol
	}
}
