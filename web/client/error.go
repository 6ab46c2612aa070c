package client

import (
	"errors"
	"fmt"
)

var (
	// ErrNoComet is code 1001: no comet holds the key just now. Try later.
	ErrNoComet = errors.New("no live comet for this key")
	// ErrParam is code 65534: a parameter is missing or wrong. Trying again
	// will not help.
	ErrParam = errors.New("a parameter is missing or wrong")
	// ErrInternal is code 65535: nothing was promised, it may be tried again.
	ErrInternal = errors.New("internal error: nothing was promised, try again")
	// ErrAccess is status 401 or 403: the secret is missing or wrong, or this
	// machine may not call the port. The text says which.
	ErrAccess = errors.New("access refused")
)

// Error is an answer of web's that is not "done". errors.Is compares it with
// the sentinels above.
type Error struct {
	Path   string // of the URL
	Status int    // of HTTP; 200 wherever there is a Ret
	Ret    int    // the code; 0 where Status is not 200
	Text   string // what web said in place of a code, or on its internal port of it; may be empty
}

func (e *Error) Error() string {
	if e.Status == 200 && e.Text != "" {
		return fmt.Sprintf("client: %s: ret %d: %v: %s", e.Path, e.Ret, e.Unwrap(), e.Text)
	}
	if e.Status == 200 {
		return fmt.Sprintf("client: %s: ret %d: %v", e.Path, e.Ret, e.Unwrap())
	}
	return fmt.Sprintf("client: %s: status %d: %s", e.Path, e.Status, e.Text)
}

// Unwrap returns the sentinel for the code or status.
func (e *Error) Unwrap() error {
	switch {
	case e.Status == 401, e.Status == 403:
		return ErrAccess
	case e.Ret == 1001:
		return ErrNoComet
	case e.Ret == 65534:
		return ErrParam
	}
	return ErrInternal
}
