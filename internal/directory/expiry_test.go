package directory

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/testenv"
)

// A comet whose session expires is for a moment registered nowhere. Nobody else
// is either, so it goes on owning its keys throughout, and sends nobody away.
func TestExpiryMovesNoKey(t *testing.T) {
	server := testenv.ZooKeeper(t)
	proxy := testenv.Proxy(t, server.Addr())
	open := func(addr string) *registry.ZooKeeper {
		z := registry.DialZooKeeper(registry.Options{
			Addr: []string{addr}, Timeout: 2 * time.Second, CometPath: "/comet", MessagePath: "/message",
		})
		t.Cleanup(z.Close)
		return z
	}
	reg := open(proxy.Addr())
	member := reg.JoinComet("node1", registry.Info{RPC: []string{"127.0.0.1:1"}, Weight: 1})
	web := New(Options{Registry: open(server.Addr())})
	run(t, web)
	comet := New(Options{Registry: reg, Self: member})
	run(t, comet)

	ctx, cancel := context.WithCancel(context.Background())
	joined := make(chan error, 1)
	go func() { joined <- member.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-joined; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	until(t, "the comet owns its keys", func() bool { return comet.Owns("k") == nil })
	until(t, "the web knows it", func() bool { _, err := web.Comet("k"); return err == nil })
	first := member.Name()

	watched := make(chan error, 1)
	go func() {
		for {
			changed := comet.Changed()
			if err := comet.Owns("k"); err != nil {
				watched <- fmt.Errorf("%w in %+v", err, comet.View().Nodes)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				watched <- nil
				return
			}
		}
	}()
	proxy.Refuse()
	away := func() bool {
		n, ok := web.Lookup("k")
		_, registered := n.Active()
		return ok && !registered
	}
	until(t, "the session has expired, and the node is still there", away)
	if c, err := web.Comet("k"); err != nil || c.Addr() != "127.0.0.1:1" {
		t.Errorf("comet while away = %v, %v; want it at its last address", c, err)
	}
	proxy.Accept()
	until(t, "registered again", func() bool { return member.Name() != first && !away() })
	until(t, "the comet has seen that", func() bool {
		n, _ := comet.Lookup("k")
		c, _ := n.Active()
		return c.Name == member.Name()
	})
	cancel()
	if err := <-watched; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the comet lost its keys: %v", err)
	}
}
