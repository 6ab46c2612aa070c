package comet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// babbler is a client that breaks the protocol and goes on without end.
type babbler struct {
	*fakeSocket
	said int
}

const babble = 1 << 20

func (b *babbler) Read(p []byte) (int, error) {
	if b.isClosed() || b.said >= babble {
		return 0, io.EOF
	}
	b.said += len(p)
	return copy(p, bytes.Repeat([]byte{0xff}, len(p))), nil
}

func TestClientThatGoesOnAfterItsEndIsCutOff(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sock := &babbler{fakeSocket: newFakeSocket()}
		sess, err := r.subscribe(sock, wire.Sub{Key: "k", Heartbeat: 30 * time.Second, Mid: -1, Pmid: -1}, overWebSocket)
		if err != nil {
			t.Fatal(err)
		}
		sess.readWS()
		r.leave(sess)
		if sock.said >= 2*lingerBytes || !sock.isClosed() {
			t.Errorf("%d bytes were read, closed %t; want about %d, and the end", sock.said, sock.isClosed(), lingerBytes)
		}
	})
}

func TestWebSocketSession(t *testing.T) {
	r := start(t, nil)
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=w1&heartbeat=30&ver=1.0&extra=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	text := func(want string) {
		t.Helper()
		typ, got, err := conn.ReadMessage()
		if err != nil || typ != websocket.TextMessage || string(got) != want {
			t.Fatalf("read type %d %q, %v; want text %q", typ, got, err, want)
		}
	}
	text("+h\r\n")
	for _, typ := range []int{websocket.TextMessage, websocket.BinaryMessage} {
		conn.WriteMessage(typ, []byte("h"))
		text("+h\r\n")
	}
	pong := ""
	conn.SetPongHandler(func(s string) error { pong = s; return nil })
	conn.WriteMessage(websocket.PingMessage, []byte("are you there"))
	conn.WriteMessage(websocket.TextMessage, []byte("h"))
	text("+h\r\n")
	if pong != "are you there" {
		t.Errorf("pong %q", pong)
	}
	var reply peer.PushReply
	if err := r.rpc().Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{{Keys: []string{"w1"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40, Nonce: "n"}}}, &reply); err != nil {
		t.Fatal(err)
	}
	text(fmt.Sprintf(`{"msg":1,"mid":%d,"gid":0}`, reply.Results[0].Mid))
	// A fragmented heartbeat, with a ping in between.
	raw := conn.NetConn()
	raw.Write([]byte{0x01, 0x80, 0, 0, 0, 0})
	raw.Write([]byte{0x89, 0x80, 0, 0, 0, 0})
	raw.Write([]byte{0x80, 0x81, 0, 0, 0, 0, 'h'})
	text("+h\r\n")
	if pong != "" { // the second ping's, which was empty
		t.Errorf("last pong %q", pong)
	}
	conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"))
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("close was answered with %v", err)
	}
}

func TestWebSocketRefusals(t *testing.T) {
	r := start(t, func(c *Config) { c.WebSocket.Origins = []string{"https://app.example.com"} })
	for _, tt := range []struct {
		name, query, want string
		code              int
	}{
		{"no key", "heartbeat=30", "-p\r\n", 1008},
		{"heartbeat", "key=k&heartbeat=5", "-p\r\n", 1008},
		{"another comet's", "key=foreign&heartbeat=30", "-n\r\n", 1012},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, got, err := conn.ReadMessage(); err != nil || string(got) != tt.want {
				t.Fatalf("read %q, %v; want %q", got, err, tt.want)
			}
			if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, tt.code) {
				t.Errorf("end: %v, want close %d", err, tt.code)
			}
		})
	}
	for origin, welcome := range map[string]bool{"": true, "https://app.example.com": true, "https://APP.example.com": true, "https://evil.example.com": false, "null": false} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", h)
		if (err == nil) != welcome {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			conn.Close()
		} else if resp.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: status %d, want 403", origin, resp.StatusCode)
		}
	}
	for _, bad := range [][]byte{
		{0x81, 0x01, 'h'},                    // not masked
		{0xc1, 0x81, 0, 0, 0, 0, 'h'},        // a reserved bit
		{0x80, 0x81, 0, 0, 0, 0, 'h'},        // continuation of nothing
		{0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0}, // 4 GiB
		{0x81, 0x81, 0, 0, 0, 0, 'x'},        // no heartbeat
		{0x81, 0x81, 0, 0, 0, 0, 0xff},       // not UTF-8
	} {
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.ReadMessage() // +h
		conn.NetConn().Write(bad)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _, err = conn.ReadMessage()
		var ce *websocket.CloseError
		if !errors.As(err, &ce) || !slices.Contains([]int{1002, 1007, 1008, 1009}, ce.Code) {
			t.Errorf("frame % x: %v, want a close frame", bad, err)
		}
		conn.Close()
	}
}
