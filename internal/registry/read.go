package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"
)

// readers is how many reads of one pass are under way at a time.
const readers = 16

// pass is everything under the two roots as read once. While others write, its
// parts may be of different moments; two equal passes are one moment.
type pass struct {
	root     int64 // when the comets' root was made
	pzxid    int64 // of that root
	comets   []rawNode
	messages []rawChild
}

type rawNode struct {
	name         string
	data         []byte
	mzxid, pzxid int64
	children     []rawChild // by sequence
}

type rawChild struct {
	name  string
	data  []byte
	mzxid int64
}

// epoch orders the states of the ring (see Snapshot.Epoch).
func (p pass) epoch() int64 {
	e := p.pzxid
	for _, n := range p.comets {
		e = max(e, n.pzxid, n.mzxid)
		if len(n.children) > 0 {
			e = max(e, n.children[0].mzxid)
		}
	}
	return e
}

// read makes passes until two in a row are equal. It leaves a watch on
// everything it read.
func (b *base) read(ctx context.Context) (pass, error) {
	var last pass
	for first := true; ; first = false {
		p, err := b.readOnce(ctx)
		switch {
		case errors.Is(err, errMoved):
			first = true
			if err := ctx.Err(); err != nil {
				return pass{}, err
			}
			continue
		case err != nil:
			return pass{}, err
		case !first && reflect.DeepEqual(p, last):
			return p, nil
		}
		last = p
	}
}

// errMoved means that a znode vanished in the middle of a pass.
var errMoved = errors.New("registry: a znode went away while it was read")

func (b *base) readOnce(ctx context.Context) (pass, error) {
	var p pass
	names, st, err := b.root(ctx, b.paths.Comet)
	if err != nil {
		return pass{}, err
	}
	slices.Sort(names)
	p.root, p.pzxid = st.ctime, st.pzxid
	p.comets = make([]rawNode, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, name := range names {
		g.Go(func() (err error) {
			p.comets[i], err = b.readNode(gctx, name)
			return err
		})
	}
	g.Go(func() error {
		names, _, err := b.root(gctx, b.paths.Message)
		if err != nil {
			return err
		}
		p.messages, err = b.readChildren(gctx, b.paths.Message, names)
		return err
	})
	if err := g.Wait(); err != nil {
		return pass{}, err
	}
	return p, nil
}

func (b *base) readNode(ctx context.Context, name string) (rawNode, error) {
	n := rawNode{name: name}
	at := path.Join(b.paths.Comet, name)
	data, st, err := b.get(ctx, at)
	if err != nil {
		return n, moved(err)
	}
	n.data, n.mzxid = data, st.mzxid
	names, st, err := b.children(ctx, at)
	if err != nil {
		return n, moved(err)
	}
	n.pzxid = st.pzxid
	n.children, err = b.readChildren(ctx, at, names)
	return n, err
}

func (b *base) readChildren(ctx context.Context, parent string, names []string) ([]rawChild, error) {
	sortNames(names)
	out := make([]rawChild, 0, len(names))
	for _, name := range names {
		data, st, err := b.get(ctx, path.Join(parent, name))
		if err != nil {
			return nil, moved(err)
		}
		out = append(out, rawChild{name: name, data: data, mzxid: st.mzxid})
	}
	return out, nil
}

// root lists the children of a root, which it creates if it is missing.
func (b *base) root(ctx context.Context, at string) ([]string, stat, error) {
	names, st, err := b.children(ctx, at)
	if errors.Is(err, zk.ErrNoNode) {
		if err := b.ensure(ctx, at); err != nil {
			return nil, stat{}, err
		}
		names, st, err = b.children(ctx, at)
	}
	if err != nil {
		return nil, stat{}, fmt.Errorf("list %s: %w", at, err)
	}
	return names, st, nil
}

// ensure creates the persistent znode at, and those above it that are missing.
func (b *base) ensure(ctx context.Context, at string) error {
	err := b.create(ctx, at, nil)
	if errors.Is(err, zk.ErrNoNode) && at != "/" {
		if err := b.ensure(ctx, path.Dir(at)); err != nil {
			return err
		}
		err = b.create(ctx, at, nil)
	}
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("create %s: %w", at, err)
	}
	return nil
}

func moved(err error) error {
	if errors.Is(err, zk.ErrNoNode) {
		return errMoved
	}
	return err
}
