package assemble

import (
	"context"
	"errors"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/directory"
	"gopush-cluster/internal/ops"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// cluster is where daemons find each other: a registry.ZooKeeper, or the
// registry.Memory of a single process.
type cluster interface {
	directory.Registry
	JoinComet(node string, i registry.Info) *registry.Membership
	JoinMessage(i registry.Info) *registry.Membership
}

// dial connects to ZooKeeper, in the background.
func dial(z config.ZooKeeper, cometPath, messagePath string) *registry.ZooKeeper {
	return registry.DialZooKeeper(registry.Options{
		Addr: z.Addr, Timeout: z.Timeout.D(), CometPath: cometPath, MessagePath: messagePath,
	})
}

// newDirectory returns the directory of a daemon that calls others.
func newDirectory(c cluster, self directory.Self, calls config.Calls, trust config.Trust) (*directory.Directory, error) {
	secret, err := trust.Secret()
	if err != nil {
		return nil, err
	}
	return directory.New(directory.Options{
		Registry: c,
		Self:     self,
		Client: rpcnet.ClientOptions{
			Secret:  secret.Bytes(),
			Plain:   trust.Networks(),
			Timeout: calls.Timeout.D(),
			Retry:   calls.Retry.D(),
		},
		Ping:    calls.Ping.D(),
		Timeout: calls.Timeout.D(),
	}), nil
}

// errUnregistered is why a daemon that others cannot find yet is not ready.
var errUnregistered = errors.New("not registered yet")

// newOps returns the operators' ports of a daemon.
func newOps(stat, pprof config.Local, numbers func() any, ready func(context.Context) error) (*ops.Server, error) {
	return ops.New(ops.Options{Stat: stat.Bind, Pprof: pprof.Bind, Numbers: numbers, Ready: ready})
}
