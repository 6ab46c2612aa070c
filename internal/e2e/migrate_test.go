package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/rpc"
	"sync"
	"testing"

	"gopush-cluster/internal/testenv"
)

// oldComet knows nothing of ZooKeeper's nodes but what webs tell it by the call
// of the contract.
type oldComet struct {
	mu   sync.Mutex
	told []map[string]int
}

// OldMigrateArgs is exported because net/rpc wants it.
type OldMigrateArgs struct{ Nodes map[string]int }

func (o *oldComet) Migrate(args *OldMigrateArgs, ret *int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, args.Nodes)
	return nil
}

func (o *oldComet) Ping(_ int, ret *int) error { return nil }

// knows returns nil when the ring that it was told last is want.
func (o *oldComet) knows(want map[string]int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.told) == 0 {
		return fmt.Errorf("told nothing, want %v", want)
	}
	if got := o.told[len(o.told)-1]; !maps.Equal(got, want) {
		return fmt.Errorf("told %v, want %v", got, want)
	}
	return nil
}

// serveOld answers the calls of a daemon, under its name, until the test ends,
// and returns where.
func serveOld(t *testing.T, name string, daemon any) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer()
	if err := s.RegisterName(name, daemon); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { s.ServeConn(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait() // our daemons are gone, and their connections with them
	})
	return l.Addr().String()
}

// TestWebsTellTheRing: a comet is told every change of the ring that it is in,
// and also that it is in it no longer; each time the lock is given back.
func TestWebsTellTheRing(t *testing.T) {
	t.Parallel()
	old := &oldComet{}
	addr := serveOld(t, "CometRPC", old)
	c := start(t, options{webs: 2})
	conn := c.dialZK()
	told := func(want map[string]int) {
		t.Helper()
		testenv.Eventually(t, patience, func() error { return old.knows(want) })
		testenv.Eventually(t, patience, func() error {
			if there, _, err := conn.Exists(migratePath); there || err != nil {
				return fmt.Errorf("the lock is still held (%t, %v)", there, err)
			}
			return nil
		})
	}
	t.Run("in the ring", func(t *testing.T) {
		register(t, conn, "old", fmt.Sprintf(`{"rpc":["%s"],"weight":3}`, addr))
		told(map[string]int{"node1": 1, "old": 3})
		t.Run("with another", func(t *testing.T) {
			register(t, conn, "nobody", `{"rpc":["127.0.0.1:1"],"weight":2}`) // who cannot be told
			told(map[string]int{"node1": 1, "old": 3, "nobody": 2})
		})
		told(map[string]int{"node1": 1, "old": 3})
	})
	told(map[string]int{"node1": 1})
}
