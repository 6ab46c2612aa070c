package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/golang/glog"
)

// errForced means that somebody did not want to wait for the drain.
var errForced = errors.New("stopped by a second signal before everything was drained")

// listen returns the signals of the process, until stop.
func listen() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// supervise calls run and passes signals on until it ends: the first SIGTERM or
// SIGINT ends ctx, a second one makes supervise return errForced without waiting
// for run, and SIGHUP sends to reload. It returns what run returned.
func supervise(name string, signals <-chan os.Signal, run func(context.Context, <-chan struct{}) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reload := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { done <- run(ctx, reload) }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				select {
				case reload <- struct{}{}:
				default: // one is waiting already, and will read what this one means
				}
			case ctx.Err() != nil:
				return errForced
			default:
				glog.Infof("%s: draining signal=%v", name, s)
				cancel()
			}
		}
	}
}
