package assemble

import (
	"context"
	"errors"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
	"gopush-cluster/internal/registry"
)

// Comet runs a comet with the file at path until ctx ends. A value from reload
// makes it read the file again.
func Comet(ctx context.Context, path string, reload <-chan struct{}) error {
	cfg, err := LoadComet(path)
	if err != nil {
		return err
	}
	if err := daemon.SetVerbosity(cfg.Log.V); err != nil {
		return err
	}
	z := dial(cfg.ZooKeeper.ZooKeeper, cfg.ZooKeeper.Comet.Path, cfg.ZooKeeper.Message.Path)
	defer z.Close()
	c, err := newComet(cfg, z)
	if err != nil {
		return err
	}
	again := reloading("comet", path, reload, LoadComet, c.reload, func(c comet.Config) int { return c.Log.V })
	return stack(ctx, append([]layer{again}, c.layers...)...)
}

// cometUnit is a comet and what it stands on.
type cometUnit struct {
	*comet.Server
	layers []layer
	ready  func(context.Context) error
	reload func(comet.Config) ([]string, error)
}

func newComet(cfg comet.Config, c cluster) (*cometUnit, error) {
	member := c.JoinComet(cfg.ZooKeeper.Comet.Node, registry.Info{Weight: cfg.ZooKeeper.Comet.Weight})
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return nil, err
	}
	dir := newDirectory(c, member, cfg.RPC.Calls, trust)
	server, err := comet.New(cfg, comet.Deps{
		Ring:     dir,
		Messages: dir.Messages,
		Trust:    trust,
		Join: func(i registry.Info) comet.Member {
			member.Set(i)
			return member
		},
	})
	if err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error {
		if member.Name() == "" {
			return errUnregistered
		}
		return errors.Join(dir.Ready(), server.Ready(ctx))
	}
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, ready)
	if err != nil {
		return nil, err
	}
	reload := trusting(trust, func(c comet.Config) config.Trust { return c.RPC.Trust },
		func(c comet.Config) ([]string, error) { return server.Reload(c), nil })
	return &cometUnit{server, []layer{o.Run, dir.Run, server.Run}, ready, reload}, nil
}
