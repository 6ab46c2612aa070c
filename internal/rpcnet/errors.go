package rpcnet

import (
	"errors"
	"runtime/debug"

	"github.com/golang/glog"
)

var (
	// ErrNotSent means that the call was surely not executed: the dial failed,
	// or the connection broke before the whole call was written. It may be
	// made again, here or elsewhere.
	ErrNotSent = errors.New("rpcnet: call not sent")
	// ErrLost means that the call was written and no answer came: the
	// connection broke or the caller's time was over. It may have been executed.
	ErrLost = errors.New("rpcnet: no answer")
	// ErrPanic is what a caller sees of a handler that panicked. It crosses the
	// wire as text.
	ErrPanic = errors.New("rpcnet: the handler panicked")
)

// Recover turns a panic of the handler that defers it into ErrPanic, so that
// it ends the call and not the process:
//
//	func (s *Service) Ping(_ int, _ *int) (err error) {
//		defer rpcnet.Recover("CometRPC.Ping", &err)
func Recover(method string, err *error) {
	if p := recover(); p != nil {
		glog.Errorf("rpcnet: handler panicked method=%s panic=%v\n%s", method, p, debug.Stack())
		*err = ErrPanic
	}
}
