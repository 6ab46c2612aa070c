package registry

import (
	"context"
	"time"

	"github.com/golang/glog"
)

// Watch calls on with the state of the cluster whenever it has looked: at once,
// after every change, and every half minute though nothing changed. It makes
// one call at a time, with the newest state, until ctx ends, and then returns
// nil. While ZooKeeper is away it waits, and says so in the log; the last state
// stays in force.
func (b *base) Watch(ctx context.Context, on func(Snapshot)) error {
	r := reader{forgotten: forgotten{recall: b.recall}}
	look := time.AfterFunc(sweep, b.refresh) // when who is missing is given up
	look.Stop()
	defer look.Stop()
	b.follow(ctx, "watch", func(ctx context.Context) error {
		p, err := b.read(ctx)
		if err != nil {
			r.interrupt()
			return err
		}
		on(r.snapshot(p, time.Now()))
		if r.waits() {
			look.Reset(time.Until(r.until))
		}
		return nil
	})
	return nil
}

// reader turns passes into snapshots. It is used by one goroutine. Data that it
// cannot read stops nothing: it uses what it can, and complains once.
type reader struct {
	weights map[string]int   // node → weight last seen
	broken  map[string]int64 // znode → mzxid of the data that was complained about
	forgotten
}

func (r *reader) snapshot(p pass, now time.Time) Snapshot {
	s := Snapshot{Epoch: p.epoch(), Root: p.root, Comets: make([]Node, len(p.comets)), Messages: make([]Child, len(p.messages))}
	weights, broken := make(map[string]int, len(p.comets)), make(map[string]int64)
	info := func(znode string, data []byte, mzxid int64) Info {
		i, err := parseInfo(data)
		if err != nil {
			broken[znode] = mzxid
			if r.broken[znode] != mzxid {
				glog.Warningf("registry: data of a znode is not as expected znode=%q bytes=%d err=%q", znode, len(data), err)
			}
		}
		return i
	}
	for i, raw := range p.comets {
		n := Node{
			Name: raw.name, Last: info(raw.name, raw.data, raw.mzxid),
			Keep: parseKeep(raw.data), Version: raw.mzxid,
		}
		for _, c := range raw.children {
			n.Children = append(n.Children, Child{
				Name: c.name, Info: info(raw.name+"/"+c.name, c.data, c.mzxid), Version: c.mzxid,
			})
		}
		active, _ := n.Active()
		n.Weight = weight(active.Info.Weight, n.Last.Weight, r.weights[raw.name])
		weights[raw.name] = n.Weight
		s.Comets[i] = n
	}
	for i, raw := range p.messages {
		daemon := info(raw.name, raw.data, raw.mzxid)
		daemon.Weight = weight(daemon.Weight)
		s.Messages[i] = Child{Name: raw.name, Info: daemon, Version: raw.mzxid}
	}
	r.weights, r.broken = weights, broken
	return r.recollect(p, s, now)
}
