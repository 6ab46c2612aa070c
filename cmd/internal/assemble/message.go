package assemble

import (
	"context"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
	"gopush-cluster/internal/registry"
	"gopush-cluster/message"
)

// Message runs a message daemon with the file at path until ctx ends. A value
// from reload makes it read the file again.
func Message(ctx context.Context, path string, reload <-chan struct{}) error {
	cfg, err := LoadMessage(path)
	if err != nil {
		return err
	}
	if err := daemon.SetVerbosity(cfg.Log.V); err != nil {
		return err
	}
	z := dial(cfg.ZooKeeper.ZooKeeper, cfg.ZooKeeper.Comet.Path, cfg.ZooKeeper.Message.Path)
	defer z.Close()
	m, err := newMessage(cfg, z)
	if err != nil {
		return err
	}
	again := reloading("message", path, reload, LoadMessage, m.reload, func(c message.Config) int { return c.Log.V })
	return stack(ctx, append([]layer{again}, m.layers...)...)
}

// messageUnit is a message daemon and what it stands on.
type messageUnit struct {
	*message.Server
	layers []layer
	reload func(message.Config) ([]string, error)
}

func newMessage(cfg message.Config, c cluster) (*messageUnit, error) {
	member := c.JoinMessage(registry.Info{Weight: cfg.Node.Weight})
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return nil, err
	}
	server, err := message.New(cfg, message.Deps{Member: member, Trust: trust})
	if err != nil {
		return nil, err
	}
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, server.Ready)
	if err != nil {
		return nil, err
	}
	reload := trusting(trust, func(c message.Config) config.Trust { return c.RPC.Trust }, server.Reload)
	return &messageUnit{server, []layer{o.Run, server.Run}, reload}, nil
}
