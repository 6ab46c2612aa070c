package directory

import (
	"context"
	"errors"
	"sync"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
)

// A comet that cannot read the registry asks the daemons around it how they see
// the ring, for it may have lost its place meanwhile.

// Connected reports whether the registry can be read just now.
func (d *Directory) Connected() bool { return d.registry.Connected() }

// Tell returns the ring as it is seen here.
func (d *Directory) Tell() peer.ViewReply {
	v := d.View()
	return Tell(registry.Snapshot{Epoch: v.Epoch, Root: v.Root, Comets: v.Nodes})
}

// Tell returns the ring of s in the form in which it is told.
func Tell(s registry.Snapshot) peer.ViewReply {
	return peer.ViewReply{Nodes: s.Weights(), Epoch: s.Epoch, Root: s.Root, Addrs: s.Addrs()}
}

// Ask asks every message daemon and every other comet for its ring, and takes
// over the newest as Told does. It reports whether anybody is there: a daemon
// that is too old to be asked is.
func (d *Directory) Ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var (
		asking sync.WaitGroup
		mu     sync.Mutex
		newest peer.ViewReply
		there  bool
	)
	v := d.View()
	ask := v.others(d.mine)
	for _, m := range v.messages {
		ask = append(ask, m.link)
	}
	for _, l := range ask {
		asking.Go(func() {
			told, err := l.view(ctx)
			if errors.Is(err, rpcnet.ErrNotSent) || errors.Is(err, rpcnet.ErrLost) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			there = true
			if err == nil && (age{told.Root, told.Epoch}).newer(age{newest.Root, newest.Epoch}) {
				newest = told
			}
		})
	}
	asking.Wait()
	if newest.Epoch > 0 {
		d.Told(peer.MigrateArgs(newest))
	}
	return there
}

// view asks the daemon at the other end for its ring.
func (l *link) view(ctx context.Context) (peer.ViewReply, error) {
	if l.kind == comet {
		return l.comet.View(ctx)
	}
	return l.message.View(ctx)
}
