package comet

import (
	"net"
	"testing"

	"gopush-cluster/internal/wire"
)

// A comet that was frozen for longer than a client may be silent finds its
// heartbeats in the socket, and does not end it.
func TestHeartbeatOfAFreezeCounts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	conn, err := DefaultConfig().Channel.tune(nc)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{outbox: outbox{conn: conn}, sub: wire.Sub{Heartbeat: -heartbeatGrace}}
	if _, err := client.Write([]byte("hh")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := s.hear(buf); n != 2 || err != nil {
		t.Errorf("the time is over: heard %d bytes, %v; want the two that are there", n, err)
	}
	if n, err := s.hear(buf); n != 0 || readEnd(err) != endNoHeartbeat {
		t.Errorf("with nothing there: heard %d bytes, %v", n, err)
	}
}
