package rpcnet

import (
	"context"
	"fmt"
	"net/rpc"
	"sync"
	"testing"
)

// BenchmarkCall is one small call and its answer over loopback, caller and
// server in this process; stock=true is net/rpc's own client and server codec
// at the same load, on one connection.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("stock=false/callers=%d", callers), func(b *testing.B) {
			addr, stop := serve(b, ServerOptions{Trust: NewTrust([]byte("s"), nil)}, newEcho())
			defer stop()
			c := NewClient(addr, ClientOptions{Trust: NewTrust([]byte("s"), nil)})
			defer c.Close()
			bench(b, callers, func(args EchoArgs, reply *EchoReply) error {
				return c.Call(context.Background(), "Echo.Say", args, reply)
			})
		})
		b.Run(fmt.Sprintf("stock=true/callers=%d", callers), func(b *testing.B) {
			addr, stop := serveStock(b)
			c, err := rpc.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer stop()
			defer c.Close()
			bench(b, callers, func(args EchoArgs, reply *EchoReply) error {
				return c.Call("Echo.Say", args, reply)
			})
		})
	}
}

func bench(b *testing.B, callers int, call func(EchoArgs, *EchoReply) error) {
	args := EchoArgs{Text: "0123456789012345678901234567890123456789012345678901234567890123"}
	if err := call(args, new(EchoReply)); err != nil { // connected
		b.Fatal(err)
	}
	work := make(chan struct{}, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range work {
				if err := call(args, new(EchoReply)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}
