package assemble

import (
	"context"
	"slices"
	"strings"

	"github.com/golang/glog"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
)

// validated is the configuration of a daemon.
type validated interface{ Validate() error }

// reloader reads a daemon's file again. The file is applied as a whole or,
// where anything is wrong with it, not at all.
type reloader[C validated] struct {
	load      func() (C, error)
	apply     func(C) (restart []string, err error) // the keys that differ and need a restart
	verbosity func(C) int

	last    C        // the file as it was applied last
	restart []string // and what needed a restart then
}

// again returns the keys that took effect, and those that need a restart to. A
// secret that is another in the same file is not among them: no key tells it.
func (r *reloader[C]) again() (applied, restart []string, err error) {
	next, err := r.load()
	if err != nil {
		return nil, nil, err
	}
	if restart, err = r.apply(next); err != nil {
		return nil, nil, err
	}
	if err := daemon.SetVerbosity(r.verbosity(next)); err != nil {
		return nil, nil, err
	}
	// A key that goes back to what runs never took effect in between.
	applied = slices.DeleteFunc(config.Diff(r.last, next), func(key string) bool {
		return slices.Contains(restart, key) || slices.Contains(r.restart, key)
	})
	r.last, r.restart = next, restart
	return applied, restart, nil
}

// reloading is a layer that reads the file again whenever it is asked to, and
// says what came of it.
func reloading[C validated](name string, asked <-chan struct{}, r reloader[C]) layer {
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-asked:
			}
			applied, restart, err := r.again()
			switch {
			case err != nil:
				glog.Errorf("%s: configuration not applied, all stays as it was err=%v", name, oneLine(err))
			case len(restart) > 0:
				glog.Warningf("%s: configuration and secrets read again, some of it needs a restart applied=%v restart=%v", name, applied, restart)
			default:
				glog.Infof("%s: configuration and secrets read again applied=%v", name, applied)
			}
		}
	}
}

// oneLine is for the log, where an event is one line: a file may have several
// things wrong with it.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n ", ";") }
