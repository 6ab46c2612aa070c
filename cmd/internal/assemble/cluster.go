package assemble

import (
	"context"
	"errors"
	"fmt"

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
	TryLock(ctx context.Context, at, who string) (*registry.Lock, error)
	RemoveNode(ctx context.Context, n registry.Node) error
}

// newTrust returns what the calls of a daemon go by.
func newTrust(c config.Trust) (*rpcnet.Trust, error) {
	secret, err := c.Secret()
	if err != nil {
		return nil, fmt.Errorf("rpc.secret_file: %w", err)
	}
	return rpcnet.NewTrust(secret.Bytes(), c.Networks()), nil
}

// trusting makes apply take over the secret and the networks of a file as well:
// all of it, or nothing.
func trusting[C any](trust *rpcnet.Trust, of func(C) config.Trust, apply func(C) ([]string, error)) func(C) ([]string, error) {
	return func(cfg C) ([]string, error) {
		secret, err := of(cfg).Secret()
		if err != nil {
			return nil, fmt.Errorf("rpc.secret_file: %w", err)
		}
		restart, err := apply(cfg)
		if err == nil {
			trust.Set(secret.Bytes(), of(cfg).Networks())
		}
		return restart, err
	}
}

// newDirectory returns the directory of a daemon that calls others.
func newDirectory(c cluster, self directory.Self, calls config.Calls, trust *rpcnet.Trust, clock directory.ClockOptions) *directory.Directory {
	return directory.New(directory.Options{
		Registry: c,
		Self:     self,
		Client:   clientOptions(calls, trust),
		Ping:     calls.Ping.D(),
		Timeout:  calls.Timeout.D(),
		Clock:    clock,
	})
}

func clientOptions(calls config.Calls, trust *rpcnet.Trust) rpcnet.ClientOptions {
	return rpcnet.ClientOptions{Trust: trust, Timeout: calls.Timeout.D(), Retry: calls.Retry.D()}
}

// errUnregistered is why a daemon that others cannot find is not ready.
var errUnregistered = errors.New("not registered")

// newOps returns the operators' ports of a daemon.
func newOps(stat, pprof config.Local, numbers func() any, ready func(context.Context) error) (*ops.Server, error) {
	return ops.New(ops.Options{Stat: stat.Bind, Pprof: pprof.Bind, Numbers: numbers, Ready: ready})
}
