package assemble

import (
	"context"
	"errors"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/directory"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/skew"
	"gopush-cluster/web"
)

// Web runs a web with the file at path until ctx ends. A value from reload makes
// it read the file again.
func Web(ctx context.Context, path string, reload <-chan struct{}) error {
	return kind[web.Config]{
		name: "web",
		load: LoadWeb,
		parts: func(c web.Config) common {
			return common{c.Log, c.ZooKeeper.ZooKeeper, c.ZooKeeper.Comet.Path, c.ZooKeeper.Message.Path}
		},
		build: func(cfg web.Config, in cluster) (unit[web.Config], error) {
			w, err := newWeb(cfg, in)
			return w.unit, err
		},
	}.run(ctx, path, reload)
}

// webUnit is a web and what it stands on.
type webUnit struct {
	unit[web.Config]
	*web.Server
	directory *directory.Directory
}

func newWeb(cfg web.Config, c cluster) (webUnit, error) {
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return webUnit{}, err
	}
	clock := skew.New()
	var server *web.Server // dir asks for its name only when both run
	dir := newDirectory(c, nil, cfg.RPC.Calls, trust, directory.ClockOptions{
		Clock: clock,
		Name:  func() string { return webName(server.AdminAddrs()) },
	})
	server, err = web.New(cfg, web.Deps{
		Directory: dir,
		Messages:  dir.Messages,
		Registry:  c,
		ClockOff:  clock.Off,
		Dial: func(addr string) web.Conn {
			return rpcnet.NewClient(addr, clientOptions(cfg.RPC.Calls, trust))
		},
	})
	if err != nil {
		return webUnit{}, err
	}
	ready := func(ctx context.Context) error { return errors.Join(server.Ready(ctx), clock.Ready()) }
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, ready)
	if err != nil {
		return webUnit{}, err
	}
	reload := trusting(trust, func(c web.Config) config.Trust { return c.RPC.Trust }, server.Reload)
	return webUnit{unit[web.Config]{[]layer{o.Run, clock.Run, dir.Run, server.Run}, reload}, server, dir}, nil
}
