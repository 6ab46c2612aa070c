package directory

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// pings asks every daemon, again and again, whether it is there, until ctx
// ends. Each is asked on its own, so that one that hangs delays no other.
func (d *Directory) pings(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		d.View().links(func(l *link) {
			if l.kind == comet && d.self != nil {
				return // a comet has no use for it
			}
			if len(l.clients) == 0 || l.pinging.Swap(true) {
				return
			}
			running.Go(func() {
				defer l.pinging.Store(false)
				d.ping(ctx, l)
			})
		})
		d.links.sweep(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.kick:
		}
	}
}

// pingNow asks for a round of pings.
func (d *Directory) pingNow() {
	select {
	case d.kick <- struct{}{}:
	default: // one is due already
	}
}

func (d *Directory) ping(ctx context.Context, l *link) {
	pctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	first := l.state.Load() == unknown
	changed, err := l.ping(pctx)
	if !changed || ctx.Err() != nil {
		return
	}
	d.choose()
	switch {
	case errors.Is(err, peer.ErrFailed):
		glog.Warningf("directory: answers its ping that it cannot work, and is left out daemon=%s addr=%s err=%q", l.kind, l.addr, err)
	case err != nil:
		glog.Warningf("directory: no answer to a ping daemon=%s addr=%s err=%q", l.kind, l.addr, err)
	case !first:
		glog.Infof("directory: answers again daemon=%s addr=%s", l.kind, l.addr)
	}
}

// doubt leaves l out of the choice after a call that did not reach it, or that
// it did not answer, until it answers a ping.
func (d *Directory) doubt(l *link, err error) {
	if !errors.Is(err, rpcnet.ErrNotSent) && !errors.Is(err, rpcnet.ErrLost) {
		return
	}
	if l.state.Swap(dead) != dead {
		glog.Warningf("directory: no answer to a call daemon=%s addr=%s err=%q", l.kind, l.addr, err)
		d.choose()
		d.pingNow()
	}
}

// choose makes the choice anew after the state of a daemon has changed.
func (d *Directory) choose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.choice.Store(newChoice(d.View().messages))
}
