package comet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/peer"
)

// Clients keep coming while the comet stops. Run must know of all of them.
func TestDrainWhileClientsCome(t *testing.T) {
	for range 30 {
		r := start(t, nil)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if c, err := net.DialTimeout("tcp", r.info.TCP[0], time.Second); err == nil {
						c.Close()
					}
					d := websocket.Dialer{HandshakeTimeout: time.Second}
					if c, _, err := d.Dial("ws://"+r.info.WS[0]+"/sub?key=w&heartbeat=30", nil); err == nil {
						c.Close()
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		r.stop()
		err := <-r.ended
		r.ended <- err
		n := r.stats.sessions[0].Load() + r.stats.sessions[1].Load()
		if n != 0 {
			t.Errorf("%d sessions after Run", n)
		}
		close(stop)
		wg.Wait()
	}
}

func TestDrainSaysGoodbyeAndLeavesFirst(t *testing.T) {
	r := start(t, nil)
	newer, old, silent := r.dial(), r.dial(), r.dial()
	io.WriteString(newer, sub("k", "30", "", "1.0"))
	io.WriteString(old, sub("k", "30"))
	expect(t, newer, "+h\r\n")
	expect(t, old, "+h\r\n")
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=w&heartbeat=30", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.ReadMessage()
	await(t, "the silent one to be accepted", func() bool { return r.stats.accepts[overTCP].Load() == 3 })
	r.stop()
	expect(t, newer, "-n\r\n")
	expectEnd(t, newer)
	expectEnd(t, old)
	expectEnd(t, silent)
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1012) {
		t.Errorf("websocket: %v, want close 1012", err)
	}
	for _, conn := range []net.Conn{newer, old, silent} {
		conn.Close()
	}
	select {
	case <-r.member.left:
	default:
		t.Error("sessions were sent away before the comet left the ring")
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.ended <- nil
	if _, err := net.Dial("tcp", r.info.TCP[0]); err == nil {
		t.Error("still accepting")
	}
	if err := r.Run(context.Background()); !errors.Is(err, ErrStarted) {
		t.Errorf("second Run: %v", err)
	}
}

func TestDrainEndsInTimeThoughAClientStalls(t *testing.T) {
	r := start(t, func(c *Config) { c.Drain.Timeout = 1e9; c.Channel.SndBuf.Size = 4096; c.Outbuf.Bytes = 1 << 24 })
	conn := r.dial()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	io.WriteString(conn, sub("k", "30", "", "1.0"))
	expect(t, conn, "+h\r\n")
	big := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	var reply peer.PushReply
	for i := range 8 {
		if err := r.rpc().Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{{Keys: []string{"k"}, Msg: big, ExpireAt: 1 << 40, Nonce: fmt.Sprint(i)}}}, &reply); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the client to be behind", func() bool { return r.stats.queued.Load() > 1<<20 })
	r.stop()
	select {
	case err := <-r.ended:
		r.ended <- err
	case <-time.After(20 * time.Second):
		t.Fatal("drain does not end")
	}
}
