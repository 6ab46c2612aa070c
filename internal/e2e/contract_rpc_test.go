package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/rpc"
	"slices"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/testenv"
)

// What an old daemon or a back-end of its own declares: the structs of
// docs/protocol.md, "Between the daemons", and nothing of ours.
type (
	cometNewArgs struct {
		Expire     int64
		Token, Key string
	}
	cometPushPrivateArgs struct {
		Key    string
		Msg    json.RawMessage
		Expire uint
	}
	cometPushPrivatesArgs struct {
		Keys   []string
		Msg    json.RawMessage
		Expire uint
	}
	failedKeys       struct{ FKeys []string }
	cometMigrateArgs struct{ Nodes map[string]int }
	savePrivateArgs  struct {
		Key    string
		Msg    json.RawMessage
		MsgId  int64
		Expire uint
	}
	savePrivatesArgs struct {
		Keys   []string
		Msg    json.RawMessage
		MsgId  int64
		Expire uint
	}
	getPrivateArgs struct {
		MsgId int64
		Key   string
	}
	storedMessage struct {
		Msg     json.RawMessage
		MsgId   int64
		GroupId uint
	}
	getPrivateReply struct{ Msgs []*storedMessage }
)

// dialRPC connects as an old daemon does.
func dialRPC(t *testing.T, addr string) *rpc.Client {
	t.Helper()
	client, err := rpc.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// ask calls method over a connection of its own and returns the reply.
func ask[R any](addr, method string, args any) (R, error) {
	var none R
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return none, err
	}
	client := rpc.NewClient(conn)
	defer client.Close()
	reply := new(R)
	select {
	case c := <-client.Go(method, args, reply, make(chan *rpc.Call, 1)).Done:
		return *reply, c.Error
	case <-time.After(patience):
		return none, fmt.Errorf("%s: no answer", method)
	}
}

// call calls method and wants no error. It returns the reply.
func call[R any](t *testing.T, client *rpc.Client, method string, args any) R {
	t.Helper()
	var reply R
	done := client.Go(method, args, &reply, make(chan *rpc.Call, 1)).Done
	select {
	case c := <-done:
		if c.Error != nil {
			t.Fatalf("%s: %v", method, c.Error)
		}
	case <-time.After(patience):
		t.Fatalf("%s: no answer", method)
	}
	return reply
}

func testRPCComet(t *testing.T, c *cluster) {
	d := c.comets[0]
	client := dialRPC(t, d.rpc)
	mine, alsoMine := c.keyOf(d, "rpc"), c.keyOf(d, "rpc-too")
	foreign := c.keyOf(c.comets[1], "rpc")

	t.Run("Ping", func(t *testing.T) { call[int](t, client, "CometRPC.Ping", 0) })
	t.Run("New", func(t *testing.T) {
		call[int](t, client, "CometRPC.New", &cometNewArgs{Expire: 3600, Token: tokenMark, Key: mine})
	})
	t.Run("PushPrivate", func(t *testing.T) {
		c := c.with(t)
		cl := c.subscribe(mine, "", "1.0")
		call[int](t, client, "CometRPC.PushPrivate", &cometPushPrivateArgs{Key: mine, Msg: json.RawMessage(` {"rpc" : "<1>"}`), Expire: 600})
		live := cl.message()
		kept := c.mustFetch(mine, 0)
		if want := `{"rpc":"\u003c1\u003e"}`; live.msg != want || !slices.Equal(kept, []message{live}) {
			t.Errorf("live %v, kept %v, want %s once", live, kept, want)
		}
		call[int](t, client, "CometRPC.PushPrivate", &cometPushPrivateArgs{Key: mine, Msg: json.RawMessage(`"now"`), Expire: 0})
		if m := cl.message(); m.msg != `"now"` || m.mid <= live.mid {
			t.Errorf("live %v after %v", m, live)
		}
	})
	t.Run("PushPrivate of a foreign key", func(t *testing.T) {
		var reply int
		if err := client.Call("CometRPC.PushPrivate", &cometPushPrivateArgs{Key: foreign, Msg: json.RawMessage(`1`), Expire: 600}, &reply); err == nil {
			t.Error("a comet took a push for a key that is not its own")
		}
		if m := c.with(t).mustFetch(foreign, 0); len(m) != 0 {
			t.Errorf("%v was stored", m)
		}
	})
	t.Run("PushPrivate of no JSON", func(t *testing.T) {
		var reply int
		if err := client.Call("CometRPC.PushPrivate", &cometPushPrivateArgs{Key: mine, Msg: json.RawMessage(`{`), Expire: 600}, &reply); err == nil {
			t.Error("a message that is no JSON was accepted")
		}
	})
	t.Run("PushPrivates", func(t *testing.T) {
		c := c.with(t)
		cl := c.subscribe(alsoMine, "", "1.0")
		failed := call[failedKeys](t, client, "CometRPC.PushPrivates", &cometPushPrivatesArgs{
			Keys: []string{alsoMine, foreign, mine}, Msg: json.RawMessage(`"many"`), Expire: 600}).FKeys
		if !slices.Equal(failed, []string{foreign}) {
			t.Errorf("FKeys = %q, want %q", failed, foreign)
		}
		if m := cl.message(); m.msg != `"many"` {
			t.Errorf("live %v", m)
		}
		if m := c.mustFetch(mine, 0); len(m) == 0 || m[len(m)-1].msg != `"many"` {
			t.Errorf("%s: fetched %v", mine, m)
		}
	})
	t.Run("Migrate without an epoch", func(t *testing.T) {
		c := c.with(t)
		cl := c.subscribe(mine)
		// While ZooKeeper answers, what an old web says means "read again".
		call[int](t, client, "CometRPC.Migrate", &cometMigrateArgs{Nodes: map[string]int{"elsewhere": 1}})
		cl.beat()
		c.subscribe(mine).beat()
	})
	t.Run("Close", func(t *testing.T) {
		c := c.with(t)
		cl, ws := c.subscribe(mine), c.subscribeWS(mine, "")
		other := c.subscribe(alsoMine)
		call[int](t, client, "CometRPC.Close", mine)
		cl.wantClosed(patience)
		ws.wantEnd()
		other.beat()
		c.subscribe(mine).beat()
	})
	t.Run("unknown method", func(t *testing.T) {
		var reply int
		if err := client.Call("CometRPC.Nothing", 0, &reply); err == nil {
			t.Error("an unknown method was answered")
		}
		call[int](t, client, "CometRPC.Ping", 0) // the connection goes on
	})
}

func testRPCMessage(t *testing.T, c *cluster) {
	client := dialRPC(t, c.messages[0].rpc)
	const key = "rpc message"
	t.Run("Ping", func(t *testing.T) { call[int](t, client, "MessageRPC.Ping", 0) })
	t.Run("SavePrivate keeps its mid", func(t *testing.T) {
		call[int](t, client, "MessageRPC.SavePrivate", &savePrivateArgs{Key: key, Msg: json.RawMessage(`{"a":"<"}`), MsgId: 13999084541846408, Expire: 600})
		call[int](t, client, "MessageRPC.SavePrivate", &savePrivateArgs{Key: key, Msg: json.RawMessage(`"below"`), MsgId: 13999084541846328, Expire: 600})
		want := []message{{`"below"`, 13999084541846328}, {`{"a":"\u003c"}`, 13999084541846408}}
		if m := c.with(t).mustFetch(key, 0); !slices.Equal(m, want) {
			t.Errorf("fetched %v, want %v", m, want)
		}
	})
	t.Run("SavePrivates", func(t *testing.T) {
		failed := call[failedKeys](t, client, "MessageRPC.SavePrivates", &savePrivatesArgs{
			Keys: []string{key, "rpc message 2"}, Msg: json.RawMessage(`"many"`), MsgId: 13999084541846488, Expire: 600}).FKeys
		if len(failed) != 0 {
			t.Errorf("FKeys = %q, want none", failed)
		}
		want := []message{{`"many"`, 13999084541846488}}
		if m := c.with(t).mustFetch("rpc message 2", 0); !slices.Equal(m, want) {
			t.Errorf("fetched %v, want %v", m, want)
		}
	})
	t.Run("GetPrivate", func(t *testing.T) {
		got := call[getPrivateReply](t, client, "MessageRPC.GetPrivate", &getPrivateArgs{MsgId: 13999084541846328, Key: key}).Msgs
		var mids []int64
		for _, m := range got {
			mids = append(mids, m.MsgId)
			if m.GroupId != 0 {
				t.Errorf("GroupId = %d, want 0", m.GroupId)
			}
		}
		if !slices.Equal(mids, []int64{13999084541846408, 13999084541846488}) {
			t.Errorf("mids %d, want the two above the one given", mids)
		}
		if len(got) == 2 && string(got[1].Msg) != `"many"` {
			t.Errorf("Msg = %s", got[1].Msg)
		}
	})
	t.Run("a mid far ahead raises nothing", func(t *testing.T) {
		c := c.with(t)
		const key = "rpc ahead"
		cl := c.subscribe(key, "", "1.0")
		now := time.Now().UnixNano() / 100
		ahead := now + 2*int64(time.Hour/100)
		call[int](t, client, "MessageRPC.SavePrivate", &savePrivateArgs{Key: key, Msg: json.RawMessage(`"ahead"`), MsgId: ahead, Expire: 600})
		c.mustPush(key, `"now"`)
		live := cl.message()
		if live.msg != `"now"` || live.mid < now || live.mid > now+int64(time.Minute/100) {
			t.Errorf("live %v, want a mid of now, %d", live, now)
		}
		if m := c.mustFetch(key, 0); !slices.Equal(m, []message{live, {`"ahead"`, ahead}}) {
			t.Errorf("fetched %v, want %v and the one ahead", m, live)
		}
		c.mustPush(key, `"later"`)
		if m := cl.message(); m.msg != `"later"` || m.mid <= live.mid || m.mid >= ahead {
			t.Errorf("live %v after %v, below %d", m, live, ahead)
		}
	})
	t.Run("DelPrivate", func(t *testing.T) {
		call[int](t, client, "MessageRPC.DelPrivate", key)
		if got := call[getPrivateReply](t, client, "MessageRPC.GetPrivate", &getPrivateArgs{Key: key}).Msgs; len(got) != 0 {
			t.Errorf("%d messages are left", len(got))
		}
	})
	t.Run("SavePrivate of no JSON", func(t *testing.T) {
		var reply int
		if err := client.Call("MessageRPC.SavePrivate", &savePrivateArgs{Key: key, Msg: json.RawMessage(`{`), MsgId: 80, Expire: 600}, &reply); err == nil {
			t.Error("a message that is no JSON was accepted")
		}
	})
}

// testOldMembers proves that members which an old daemon has put into Redis are
// read: they carry no mid but their score, and need not be canonical.
func testOldMembers(t *testing.T, c *cluster) {
	conn, err := redis.Dial("tcp", c.redis[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const key = "old member"
	soon := time.Now().Add(time.Hour).Unix()
	for _, m := range []struct {
		score  int64
		member string
	}{
		{13999084541846408, fmt.Sprintf(`{"msg":{"n":"<1>"},"expire":%d}`, soon)},
		{13999084541846416, fmt.Sprintf(`{"expire":%d,"msg": [ 2 ]}`, soon)},
		{13999084541846424, fmt.Sprintf(`{"msg":"expired","expire":%d}`, time.Now().Unix()-1)},
	} {
		if _, err := conn.Do("ZADD", key, m.score, m.member); err != nil {
			t.Fatal(err)
		}
	}
	want := []message{{`{"n":"\u003c1\u003e"}`, 13999084541846408}, {`[2]`, 13999084541846416}}
	if m := c.mustFetch(key, 0); !slices.Equal(m, want) {
		t.Errorf("fetched %v, want %v", m, want)
	}
	cl := c.subscribe(key, "", "1.0")
	c.mustPush(key, `3`)
	live := cl.message()
	if live.msg != `3` || live.mid <= want[1].mid {
		t.Errorf("live %v, want a mid above the old ones", live)
	}
	if m := c.mustFetch(key, 0); !slices.Equal(m, append(want, live)) {
		t.Errorf("fetched %v, want the old ones and %v", m, live)
	}
	// And what we write, an old daemon reads: msg and expire, at the mid's score.
	testenv.Eventually(t, patience, func() error {
		members, err := redis.Strings(conn.Do("ZRANGEBYSCORE", key, live.mid, live.mid))
		if err != nil {
			return err
		}
		var m struct {
			Msg    json.RawMessage
			Expire int64
		}
		if len(members) != 1 || json.Unmarshal([]byte(members[0]), &m) != nil || string(m.Msg) != `3` || m.Expire < time.Now().Unix() {
			return fmt.Errorf("stored %q at %d, want msg and expire", members, live.mid)
		}
		return nil
	})
}
