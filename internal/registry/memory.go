package registry

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/go-zookeeper/zk"
)

// Memory is the registry of a single process: a tree of znodes with the rules
// of ZooKeeper's, for standalone and for tests. It is never away.
type Memory struct {
	*base
	nodes *znodes
}

// NewMemory returns an empty registry.
func NewMemory() *Memory {
	z := &znodes{
		nodes: map[string]*memoryNode{"/": {}},
	}
	paths := Paths{Comet: "/comet", Message: "/message"}
	return &Memory{base: newBase(z.open(), paths), nodes: z}
}

// JoinComet is as ZooKeeper's. Every membership has a session of its own, so
// that one process can hold several daemons.
func (m *Memory) JoinComet(node string, i Info) *Membership {
	return newBase(m.nodes.open(), m.paths).JoinComet(node, i)
}

// JoinMessage is as ZooKeeper's.
func (m *Memory) JoinMessage(i Info) *Membership {
	return newBase(m.nodes.open(), m.paths).JoinMessage(i)
}

// Close is here for symmetry: there is nothing to close.
func (m *Memory) Close() {}

// znodes is a tree of znodes.
type znodes struct {
	signals

	mu       sync.Mutex
	nodes    map[string]*memoryNode
	zxid     int64
	sessions int64
}

type memoryNode struct {
	stat
	data     []byte
	sequence int32
	children []string
}

// memorySession is the tree as one session sees it.
type memorySession struct {
	*znodes
	id int64 // guarded by znodes.mu
}

func (z *znodes) open() *memorySession {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.sessions++
	return &memorySession{znodes: z, id: z.sessions}
}

// expire does what the end of a session does, and begins a new one.
func (s *memorySession) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, n := range s.nodes {
		if n.owner == s.id {
			s.drop(at)
		}
	}
	s.sessions++
	s.id = s.sessions
	s.refresh()
}

func (s *memorySession) session() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *memorySession) children(_ context.Context, at string) ([]string, stat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(at, anyVersion)
	if err != nil {
		return nil, stat{}, err
	}
	return slices.Clone(n.children), n.stat, nil
}

func (s *memorySession) get(_ context.Context, at string) ([]byte, stat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(at, anyVersion)
	if err != nil {
		return nil, stat{}, err
	}
	return n.data, n.stat, nil
}

func (s *memorySession) create(_ context.Context, at string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(at, data, 0)
}

func (s *memorySession) claim(_ context.Context, at string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(at, data, s.id)
}

func (s *memorySession) register(_ context.Context, parent string, data []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.nodes[parent]
	if !ok {
		return "", zk.ErrNoNode
	}
	name := fmt.Sprintf("%010d", p.sequence)
	return name, s.add(path.Join(parent, name), data, s.id)
}

func (s *memorySession) set(_ context.Context, at string, data []byte, version int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(at, version)
	if err != nil {
		return err
	}
	s.zxid++
	n.data, n.mzxid = data, s.zxid
	n.version++
	s.refresh()
	return nil
}

func (s *memorySession) remove(_ context.Context, at string, version int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(at, version)
	if err != nil {
		return err
	}
	if len(n.children) > 0 {
		return zk.ErrNotEmpty
	}
	s.drop(at)
	s.refresh()
	return nil
}

// find, add and drop are called with mu held.

func (z *znodes) find(at string, version int32) (*memoryNode, error) {
	n, ok := z.nodes[at]
	switch {
	case !ok:
		return nil, zk.ErrNoNode
	case version != anyVersion && version != n.version:
		return nil, zk.ErrBadVersion
	}
	return n, nil
}

func (z *znodes) add(at string, data []byte, owner int64) error {
	parent, ok := z.nodes[path.Dir(at)]
	if !ok {
		return zk.ErrNoNode
	}
	if _, ok := z.nodes[at]; ok {
		return zk.ErrNodeExists
	}
	z.zxid++
	z.nodes[at] = &memoryNode{stat: stat{mzxid: z.zxid, pzxid: z.zxid, owner: owner}, data: data}
	parent.pzxid = z.zxid
	parent.sequence++
	parent.children = append(parent.children, path.Base(at))
	z.refresh()
	return nil
}

func (z *znodes) drop(at string) {
	z.zxid++
	parent := z.nodes[path.Dir(at)]
	parent.pzxid = z.zxid
	parent.children = slices.DeleteFunc(parent.children, func(name string) bool { return name == path.Base(at) })
	delete(z.nodes, at)
}
