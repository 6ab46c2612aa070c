package registry

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"gopush-cluster/internal/testenv"
)

// view follows a Watch.
type view struct {
	t *testing.T

	mu    sync.Mutex
	last  Snapshot
	calls int
}

// observe follows s until the test ends.
func observe(t *testing.T, s service) *view {
	v := &view{t: t}
	background(t, func(ctx context.Context) error {
		return s.Watch(ctx, func(s Snapshot) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.last = s
			v.calls++
		})
	})
	return v
}

func (v *view) get() (Snapshot, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last, v.calls
}

// until waits for a state that cond accepts, and returns it.
func (v *view) until(cond func(Snapshot) error) Snapshot {
	v.t.Helper()
	var s Snapshot
	testenv.Eventually(v.t, patience, func() error {
		var calls int
		if s, calls = v.get(); calls == 0 {
			return errors.New("no snapshot yet")
		}
		if err := cond(s); err != nil {
			return fmt.Errorf("%w in %+v", err, s)
		}
		return nil
	})
	return s
}

// active accepts a snapshot whose node has this active child, of this info,
// written into the node's own data too.
func active(node string, i Info, standbys int) func(Snapshot) error {
	return func(s Snapshot) error {
		n, ok := s.Node(node)
		c, registered := n.Active()
		switch {
		case !ok || !registered:
			return fmt.Errorf("node %s is not registered", node)
		case !c.Info.equal(i):
			return fmt.Errorf("active is %v, want %v", c.Info, i)
		case !n.Last.equal(i):
			return fmt.Errorf("the node's own data is %v, want %v", n.Last, i)
		case len(n.Children) != standbys+1:
			return fmt.Errorf("%d standbys, want %d", len(n.Children)-1, standbys)
		case n.Weight != i.Weight:
			return fmt.Errorf("weight = %d, want %d", n.Weight, i.Weight)
		}
		return nil
	}
}

func weights(want map[string]int) func(Snapshot) error {
	return func(s Snapshot) error {
		if got := s.Weights(); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("weights = %v, want %v", got, want)
		}
		return nil
	}
}
