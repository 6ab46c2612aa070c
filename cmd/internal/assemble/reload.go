package assemble

import (
	"context"

	"github.com/golang/glog"

	"gopush-cluster/internal/daemon"
)

// validated is the configuration of a daemon.
type validated interface{ Validate() error }

// reloading is a layer that reads a daemon's file again whenever it is asked
// to. The file is applied as a whole or, where anything is wrong with it, not
// at all. apply returns the keys that differ and need a restart.
func reloading[C validated](name, path string, asked <-chan struct{}, load func(string) (C, error), apply func(C) ([]string, error), verbosity func(C) int) layer {
	again := func() error {
		cfg, err := load(path)
		if err != nil {
			return err
		}
		restart, err := apply(cfg)
		if err != nil {
			return err
		}
		if err := daemon.SetVerbosity(verbosity(cfg)); err != nil {
			return err
		}
		if len(restart) > 0 {
			glog.Warningf("%s: configuration read again, these need a restart keys=%v", name, restart)
		} else {
			glog.Infof("%s: configuration read again", name)
		}
		return nil
	}
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-asked:
				if err := again(); err != nil {
					glog.Errorf("%s: configuration not applied, all stays as it was err=%v", name, err)
				}
			}
		}
	}
}
