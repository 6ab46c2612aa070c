package rpcnet

import (
	"errors"
	"testing"
	"time"
)

func TestTrustIsReplacedForWhatFollows(t *testing.T) {
	server, client := NewTrust([]byte("first"), nil), NewTrust([]byte("first"), nil)
	addr := start(t, ServerOptions{Trust: server}, newEcho())
	c := dialer(t, addr, ClientOptions{Trust: client, Retry: time.Millisecond})
	say := func(c *Client) error {
		var reply EchoReply
		return c.Call(within(t, 10*time.Second), "Echo.Say", EchoArgs{Text: "hello"}, &reply)
	}
	if err := say(c); err != nil {
		t.Fatal(err)
	}
	server.Set([]byte("second"), nil)
	for range poolSize { // both connections: one stands, one is yet to be made
		_ = say(c)
	}
	if err := say(dialer(t, addr, ClientOptions{Trust: client})); !errors.Is(err, ErrNotSent) {
		t.Errorf("a new connection with the old secret: %v, want ErrNotSent", err)
	}
	client.Set([]byte("second"), nil)
	if err := say(dialer(t, addr, ClientOptions{Trust: client})); err != nil {
		t.Errorf("a new connection with the new secret: %v", err)
	}
}
