package comet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/peer"
)

func TestServiceRefusesBadInput(t *testing.T) {
	r := start(t, nil)
	c := r.rpc()
	var ret int
	for name, err := range map[string]error{
		"no JSON":       c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: "k", Msg: json.RawMessage(`{"a":`)}, &ret),
		"no key":        c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Msg: json.RawMessage(`1`)}, &ret),
		"foreign key":   c.Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: "foreign", Msg: json.RawMessage(`1`)}, &ret),
		"no token":      c.Call("CometRPC.New", peer.NewArgs{Key: "k"}, &ret),
		"token, no key": c.Call("CometRPC.New", peer.NewArgs{Token: "t"}, &ret),
		"close no key":  c.Call("CometRPC.Close", "", &ret),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var reply peer.PushReply
	if err := c.Call("CometRPC.Push", peer.PushArgs{Pushes: []peer.Push{
		{Keys: []string{"k", "", strings.Repeat("k", 256), "foreign"}, Msg: json.RawMessage(`1`)},
		{Keys: []string{"k"}, Msg: json.RawMessage("{\n}")},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: 1 << 40, Nonce: `"`},
		{Keys: nil, Msg: json.RawMessage(`1`)},
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`), ExpireAt: -1},
	}}, &reply); err != nil {
		t.Fatal(err)
	}
	var codes []peer.Code
	for _, res := range reply.Results {
		codes = append(codes, res.Code)
	}
	want := []peer.Code{peer.OK, peer.Invalid, peer.Invalid, peer.NotMine, peer.Invalid, peer.Invalid, peer.Invalid, peer.Invalid}
	if !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	var fk peer.PushPrivatesReply
	if err := c.Call("CometRPC.PushPrivates", peer.PushPrivatesArgs{Keys: []string{"a", "bad1", "foreign", "b"}, Msg: json.RawMessage(`1`), Expire: 60}, &fk); err != nil || !slices.Equal(fk.FKeys, []string{"bad1", "foreign"}) {
		t.Errorf("PushPrivates: fk %v, %v", fk.FKeys, err)
	}
	for i, epoch := range []int64{0, 6, 7, 8} { // an old web's, older than the comet's own, the same, newer
		args := peer.MigrateArgs{Nodes: map[string]int{"n": 1}, Epoch: epoch}
		if err := c.Call("CometRPC.Migrate", args, &ret); err != nil || len(r.ring.told) != i+1 || (ret == 0) != (epoch <= 7) {
			t.Errorf("Migrate of epoch %d: %d, %v, told %v", epoch, ret, err, r.ring.told)
		}
	}
	if err := c.Call("CometRPC.Ping", 0, &ret); err != nil || ret != 0 {
		t.Errorf("Ping: %d, %v", ret, err)
	}
}

func TestOldPushToAKeyNamedTwicePushesOnce(t *testing.T) {
	r := start(t, nil)
	for _, expire := range []uint{60, 0} {
		key := fmt.Sprint("twice", expire)
		conn := r.dial()
		io.WriteString(conn, sub(key, "30", "", "1.0"))
		expect(t, conn, "+h\r\n")
		var fk peer.PushPrivatesReply
		args := peer.PushPrivatesArgs{Keys: []string{key, "bad", key, "bad", key}, Msg: json.RawMessage(`1`), Expire: expire}
		if err := r.rpc().Call("CometRPC.PushPrivates", args, &fk); err != nil {
			t.Fatal(err)
		}
		var want []string
		if expire > 0 {
			want = []string{"bad"}
		}
		if !slices.Equal(fk.FKeys, want) {
			t.Errorf("expire %d: fk %v, want %v", expire, fk.FKeys, want)
		}
		var ret int
		if err := r.rpc().Call("CometRPC.PushPrivate", peer.PushPrivateArgs{Key: key, Msg: json.RawMessage(`2`), Expire: expire}, &ret); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		for _, want := range []string{`{"msg":1,`, `{"msg":2,`} {
			in.ReadString('\n') // the length
			if body, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(body, want) {
				t.Errorf("expire %d: got %q, %v; want %s", expire, body, err, want)
			}
		}
	}
}

func TestCloseEndsTheKeysSessions(t *testing.T) {
	r := start(t, nil)
	a, b := r.dial(), r.dial()
	io.WriteString(a, sub("k", "30"))
	io.WriteString(b, sub("other", "30"))
	expect(t, a, "+h\r\n")
	expect(t, b, "+h\r\n")
	var ret int
	if err := r.rpc().Call("CometRPC.Close", "k", &ret); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, a)
	io.WriteString(b, "h")
	expect(t, b, "+h\r\n")
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+r.info.WS[0]+"/sub?key=k&heartbeat=30", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.ReadMessage() // +h
	if err := r.rpc().Call("CometRPC.Close", "k", &ret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("websocket: %v, want close 1000", err)
	}
}
