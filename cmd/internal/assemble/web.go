package assemble

import (
	"context"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
	"gopush-cluster/internal/directory"
	"gopush-cluster/web"
)

// Web runs a web with the file at path until ctx ends. A value from reload makes
// it read the file again.
func Web(ctx context.Context, path string, reload <-chan struct{}) error {
	cfg, err := LoadWeb(path)
	if err != nil {
		return err
	}
	if err := daemon.SetVerbosity(cfg.Log.V); err != nil {
		return err
	}
	z := dial(cfg.ZooKeeper.ZooKeeper, cfg.ZooKeeper.Comet.Path, cfg.ZooKeeper.Message.Path)
	defer z.Close()
	w, err := newWeb(cfg, z)
	if err != nil {
		return err
	}
	again := reloading("web", path, reload, LoadWeb, w.reload, func(c web.Config) int { return c.Log.V })
	return stack(ctx, append([]layer{again}, w.layers...)...)
}

// webUnit is a web and what it stands on.
type webUnit struct {
	*web.Server
	directory *directory.Directory
	layers    []layer
	reload    func(web.Config) ([]string, error)
}

func newWeb(cfg web.Config, c cluster) (*webUnit, error) {
	trust, err := newTrust(cfg.RPC.Trust)
	if err != nil {
		return nil, err
	}
	dir := newDirectory(c, nil, cfg.RPC.Calls, trust)
	server, err := web.New(cfg, web.Deps{
		Directory: dir,
		Messages:  dir.Messages,
		Nodes:     func() []web.Node { return ring(dir) },
	})
	if err != nil {
		return nil, err
	}
	o, err := newOps(cfg.Stat, cfg.Pprof, server.Stat, server.Ready)
	if err != nil {
		return nil, err
	}
	reload := trusting(trust, func(c web.Config) config.Trust { return c.RPC.Trust }, server.Reload)
	return &webUnit{server, dir, []layer{o.Run, dir.Run, server.Run}, reload}, nil
}

// ring returns the nodes as web shows them.
func ring(dir *directory.Directory) []web.Node {
	var nodes []web.Node
	for _, n := range dir.Nodes() {
		nodes = append(nodes, web.Node{
			Name: n.Name, Weight: n.Weight, Share: n.Share,
			Active: n.Active, Standbys: n.Standbys,
			RPC: n.Info.RPC, TCP: n.Info.TCP, WS: n.Info.WS,
			Alive: n.Alive, Seen: n.Seen,
		})
	}
	return nodes
}
