package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/skew"
	"gopush-cluster/message"
)

// Message runs a message daemon with the file at path until ctx ends. A value
// from reload makes it read the file again.
func Message(ctx context.Context, path string, reload <-chan struct{}) error {
	return kind[message.Config]{
		name: "message",
		load: LoadMessage,
		parts: func(c message.Config) common {
			return common{c.Log, c.ZooKeeper.ZooKeeper, c.ZooKeeper.Comet.Path, c.ZooKeeper.Message.Path}
		},
		build: func(cfg message.Config, in cluster) (unit[message.Config], error) {
			m, err := newMessage(cfg, in)
			return m.unit, err
		},
	}.run(ctx, path, reload)
}

// MigrateMessage prepares the databases that the file at path names, and writes
// what it does to out.
func MigrateMessage(ctx context.Context, path string, out io.Writer) error {
	cfg, err := LoadMessage(path)
	if err != nil {
		return err
	}
	return inFile(path, message.MigrateSchema(ctx, cfg, func(format string, args ...any) {
		fmt.Fprintf(out, format+"\n", args...)
	}))
}

// messageUnit is a message daemon and what it stands on.
type messageUnit struct {
	unit[message.Config]
	*message.Server
}

func newMessage(cfg message.Config, c cluster) (messageUnit, error) {
	member := c.JoinMessage(registry.Info{Weight: cfg.Node.Weight})
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return messageUnit{}, err
	}
	ring, clock := &sight{registry: c}, skew.New()
	server, err := message.New(cfg, message.Deps{Member: member, View: ring.tell, Trust: trust, Clock: clock})
	if err != nil {
		return messageUnit{}, err
	}
	ready := func(ctx context.Context) error { return errors.Join(server.Ready(ctx), clock.Ready()) }
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, ready)
	if err != nil {
		return messageUnit{}, err
	}
	reload := trusting(trust, func(c message.Config) config.Trust { return c.RPC.Trust }, server.Reload)
	return messageUnit{unit[message.Config]{[]layer{o.Run, clock.Run, ring.run, server.Run}, reload}, server}, nil
}
