package assemble

import (
	"context"
	"errors"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/internal/directory"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/skew"
)

// Comet runs a comet with the file at path until ctx ends. A value from reload
// makes it read the file again.
func Comet(ctx context.Context, path string, reload <-chan struct{}) error {
	return kind[comet.Config]{
		name: "comet",
		load: LoadComet,
		parts: func(c comet.Config) common {
			return common{c.Log, c.ZooKeeper.ZooKeeper, c.ZooKeeper.Comet.Path, c.ZooKeeper.Message.Path}
		},
		build: func(cfg comet.Config, in cluster) (unit[comet.Config], error) {
			c, err := newComet(cfg, in)
			return c.unit, err
		},
	}.run(ctx, path, reload)
}

// cometUnit is a comet and what it stands on.
type cometUnit struct {
	unit[comet.Config]
	*comet.Server
	ready func(context.Context) error
}

func newComet(cfg comet.Config, c cluster) (cometUnit, error) {
	member := c.JoinComet(cfg.ZooKeeper.Comet.Node, registry.Info{Weight: cfg.ZooKeeper.Comet.Weight})
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return cometUnit{}, err
	}
	clock := skew.New()
	var server *comet.Server // dir asks for its name only when both run
	dir := newDirectory(c, member, cfg.RPC.Calls, trust, directory.ClockOptions{
		Clock: clock,
		Name:  func() string { return nameOf("comet", server.Info().Addr()) },
	})
	server, err = comet.New(cfg, comet.Deps{
		Ring:     dir,
		Moves:    dir,
		Peers:    dir,
		Messages: dir.Messages,
		Trust:    trust,
		Clock:    clock,
		Join: func(i registry.Info) comet.Member {
			member.Set(i)
			return member
		},
	})
	if err != nil {
		return cometUnit{}, err
	}
	ready := func(ctx context.Context) error {
		var registered error
		if member.Name() == "" {
			registered = errUnregistered
		}
		return errors.Join(server.Ready(ctx), registered, dir.Ready(), clock.Ready())
	}
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, ready)
	if err != nil {
		return cometUnit{}, err
	}
	reload := trusting(trust, func(c comet.Config) config.Trust { return c.RPC.Trust }, server.Reload)
	return cometUnit{unit[comet.Config]{[]layer{o.Run, clock.Run, dir.Run, server.Run}, reload}, server, ready}, nil
}
