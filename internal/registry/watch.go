package registry

import (
	"context"

	"github.com/golang/glog"
)

// Watch calls on with the state of the cluster whenever it has looked: at once,
// after every change, and every half minute though nothing changed. It makes
// one call at a time, with the newest state, until ctx ends, and then returns
// nil. While ZooKeeper is away it waits, and says so in the log; the last state
// stays in force.
func (b *base) Watch(ctx context.Context, on func(Snapshot)) error {
	r := reader{weights: make(map[string]int), broken: make(map[string]int64)}
	b.follow(ctx, "watch", func(ctx context.Context) error {
		p, err := b.read(ctx)
		if err == nil {
			on(r.snapshot(p))
		}
		return err
	})
	return nil
}

// reader turns passes into snapshots. It is used by one goroutine.
type reader struct {
	weights map[string]int   // node → weight last seen
	broken  map[string]int64 // znode → mzxid of the data that was complained about
}

func (r *reader) snapshot(p pass) Snapshot {
	s := Snapshot{Epoch: p.epoch(), Comets: make([]Node, len(p.comets)), Messages: make([]Child, len(p.messages))}
	weights := make(map[string]int, len(p.comets))
	for i, raw := range p.comets {
		n := Node{Name: raw.name, Last: r.info(raw.name, raw.data, raw.mzxid)}
		for _, c := range raw.children {
			n.Children = append(n.Children, Child{Name: c.name, Info: r.info(raw.name+"/"+c.name, c.data, c.mzxid)})
		}
		active, _ := n.Active()
		n.Weight = weight(active.Info.Weight, n.Last.Weight, r.weights[raw.name])
		weights[raw.name] = n.Weight
		s.Comets[i] = n
	}
	r.weights = weights
	for i, raw := range p.messages {
		info := r.info(raw.name, raw.data, raw.mzxid)
		info.Weight = weight(info.Weight)
		s.Messages[i] = Child{Name: raw.name, Info: info}
	}
	return s
}

// info is parseInfo for a watch that must not stop: it complains once about
// data it cannot read, and uses what it can.
func (r *reader) info(znode string, data []byte, mzxid int64) Info {
	info, err := parseInfo(data)
	if err != nil && r.broken[znode] != mzxid {
		r.broken[znode] = mzxid
		glog.Warningf("registry: data of a znode is not as expected znode=%q bytes=%d err=%q", znode, len(data), err)
	}
	return info
}
