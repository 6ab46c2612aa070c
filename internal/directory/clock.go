package directory

import (
	"context"
	"errors"
	"sync"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/skew"
)

const (
	clockEvery = 10 * time.Second // between two questions for a daemon's time
	clockOld   = 5 * time.Minute  // where it was too old to answer: it may be replaced
)

// ClockOptions say how a daemon compares its clock with those of the others.
type ClockOptions struct {
	Clock *skew.Clock   // nil: nobody is asked
	Name  func() string // what others know this daemon by: a comet is found at that address
}

// clocks asks every daemon for its time, again and again, until ctx ends.
func (d *Directory) clocks(ctx context.Context) {
	if d.clock.Clock == nil {
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		changed := d.Changed()
		v := d.View()
		ask := v.others(d.mine)
		for _, m := range v.messages {
			ask = append(ask, m.link)
		}
		for _, l := range ask {
			if len(l.clients) == 0 || l.name() == d.clock.Name() || l.telling.Swap(true) {
				continue
			}
			if time.Now().Before(l.timeDue) {
				l.telling.Store(false)
				continue
			}
			running.Go(func() {
				defer l.telling.Store(false)
				l.timeDue = time.Now().Add(d.time(ctx, l))
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		}
	}
}

// time compares clocks with one daemon, and returns for how long it is left
// alone then. That is less than a tick, so that every tick asks.
func (d *Directory) time(ctx context.Context, l *link) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := d.clock.Clock.Measure(l.name(), func(last time.Duration, known bool) (time.Time, error) {
		reply, err := l.time(ctx, peer.ClockArgs{From: d.clock.Name(), Known: known, Off: last.Milliseconds()})
		return time.Unix(0, reply.Now), err
	})
	switch {
	case errors.Is(err, peer.ErrNoMethod):
		return clockOld
	case errors.Is(err, rpcnet.ErrNotSent):
		return 0 // it is only about to start, or pings tell that it is away
	}
	return clockEvery / 2
}

// time asks the daemon at the other end for its time.
func (l *link) time(ctx context.Context, args peer.ClockArgs) (peer.ClockReply, error) {
	if l.kind == comet {
		return l.comet.Clock(ctx, args)
	}
	return l.message.Clock(ctx, args)
}

// name is what the daemon at the other end calls itself.
func (l *link) name() string { return l.kind.String() + " " + l.addr }
