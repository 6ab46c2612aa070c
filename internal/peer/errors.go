package peer

import (
	"errors"
	"fmt"
	"net/rpc"
	"strings"
)

// restore turns the text that net/rpc made of a callee's error back into the
// sentinel it was. Other errors (a call not sent, an answer lost) pass.
func restore(method string, err error) error {
	var remote rpc.ServerError
	if !errors.As(err, &remote) {
		return err
	}
	text := string(remote)
	if strings.HasPrefix(text, "rpc: can't find") { // method or service
		return fmt.Errorf("%w: %s", ErrNoMethod, method)
	}
	for _, sentinel := range []error{ErrNotMine, ErrInvalid, ErrFailed} {
		if _, why, ok := strings.Cut(text, sentinel.Error()); ok {
			return fmt.Errorf("%s: %w%s", method, sentinel, why)
		}
	}
	return fmt.Errorf("%w: %s: %s", ErrFailed, method, text)
}

// refused turns the int that a call of the contract answers into an error.
func refused(method string, ret int) error {
	if ret == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s answered %d", ErrFailed, method, ret)
}
