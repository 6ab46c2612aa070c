package directory

import (
	"errors"
	"net"
	"testing"
	"time"

	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/rpcnet"
	"gopush-cluster/internal/testenv"
)

func TestLinkTriesItsAddressesInOrder(t *testing.T) {
	addr, _ := serve(t, "CometRPC", &CometRPC{})
	table := newLinks(rpcnet.ClientOptions{})
	defer table.close()
	l := table.open(comet, registry.Info{RPC: []string{testenv.FreeAddr(t), addr}})
	if err := l.comet.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want an answer from the second address", err)
	}
}

func TestLinksAreSharedByAddress(t *testing.T) {
	table := newLinks(rpcnet.ClientOptions{})
	defer table.close()
	one := table.open(comet, registry.Info{RPC: []string{"127.0.0.1:1"}})
	if table.open(comet, registry.Info{RPC: []string{"127.0.0.1:1"}}) != one {
		t.Error("two links to one comet")
	}
	if table.open(message, registry.Info{RPC: []string{"127.0.0.1:1"}}) == one || table.open(comet, registry.Info{RPC: []string{"127.0.0.1:2"}}) == one {
		t.Error("one link to two daemons")
	}
}

func TestLinksCloseLongAfterTheLastView(t *testing.T) {
	accepting, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer accepting.Close()
	table := newLinks(rpcnet.ClientOptions{})
	defer table.close()
	addr := accepting.Addr().String()
	start := time.Unix(0, 0)
	has := func(addr string) *View { return (&View{}).read(comets(1, addr), table) }
	held := func() bool {
		table.mu.Lock()
		defer table.mu.Unlock()
		_, ok := table.all[linkKey{comet, addr}]
		return ok
	}

	v := has(addr)
	table.use(v, start)
	l := v.places["node1"].link
	table.use(has("127.0.0.1:2"), start)
	table.sweep(start.Add(linger - time.Second))
	if !held() {
		t.Fatal("closed before its time")
	}
	table.use(has(addr), start.Add(linger)) // it is back
	table.sweep(start.Add(3 * linger))
	if !held() {
		t.Fatal("closed though it is in use")
	}
	table.use(has("127.0.0.1:2"), start.Add(3*linger))

	called := make(chan error, 1)
	go func() { called <- l.comet.Ping(t.Context()) }()
	conn, err := accepting.Accept()
	if err != nil {
		t.Fatal(err)
	}
	table.sweep(start.Add(9 * linger))
	if !held() {
		t.Fatal("closed under a running call")
	}
	conn.Close()
	if err := <-called; !errors.Is(err, rpcnet.ErrLost) && !errors.Is(err, rpcnet.ErrNotSent) {
		t.Fatalf("call = %v, want it to fail with its connection", err)
	}
	table.sweep(start.Add(9 * linger))
	if held() {
		t.Fatal("never closed")
	}
	if err := l.comet.Ping(t.Context()); !errors.Is(err, rpcnet.ErrNotSent) {
		t.Errorf("call over a closed link = %v, want ErrNotSent", err)
	}
}
