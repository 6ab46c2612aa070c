package assemble

import (
	"context"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
	"gopush-cluster/internal/registry"
)

// kind is what sets one kind of daemon apart from the others.
type kind[C validated] struct {
	name  string
	load  func(path string) (C, error)
	parts func(C) common
	build func(C, cluster) (unit[C], error)
}

// common is what the files of all kinds have.
type common struct {
	log            config.Log
	zookeeper      config.ZooKeeper
	comet, message string // the znodes under which daemons register
}

// unit is a daemon and what it stands on.
type unit[C validated] struct {
	layers []layer
	reload func(C) (restart []string, err error)
}

// run runs a daemon with the file at path until ctx ends. A value from reload
// makes it read the file again.
func (k kind[C]) run(ctx context.Context, path string, reload <-chan struct{}) error {
	cfg, err := k.load(path)
	if err != nil {
		return err
	}
	c := k.parts(cfg)
	if err := daemon.SetVerbosity(c.log.V); err != nil {
		return err
	}
	z := registry.DialZooKeeper(registry.Options{ // it connects in the background
		Addr: c.zookeeper.Addr, Timeout: c.zookeeper.Timeout.D(), CometPath: c.comet, MessagePath: c.message,
	})
	defer z.Close()
	u, err := k.build(cfg, z)
	if err != nil {
		return err
	}
	again := reloading(k.name, reload, reloader[C]{
		load:      func() (C, error) { return k.load(path) },
		apply:     u.reload,
		verbosity: func(c C) int { return k.parts(c).log.V },
		last:      cfg,
	})
	return stack(ctx, append([]layer{again}, u.layers...)...)
}
