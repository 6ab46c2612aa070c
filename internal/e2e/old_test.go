package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/testenv"
)

// The arguments of old daemons, exported because net/rpc wants it.
type (
	OldPushArgs  cometPushPrivateArgs
	OldPushes    cometPushPrivatesArgs
	OldSaveArgs  savePrivateArgs
	OldSavesArgs savePrivatesArgs
	OldGetArgs   getPrivateArgs
	OldGetReply  getPrivateReply
	OldFailed    failedKeys
	OldNewArgs   cometNewArgs
)

// oldMessage is a message daemon as it was before ours: it keeps messages under
// the mids that it is told, and knows neither nonces nor records.
type oldMessage struct {
	redis       *redis.Pool
	saves, gets atomic.Int64
}

// oldStore is how many messages it keeps of a key.
const oldStore = 20

func (o *oldMessage) SavePrivate(args *OldSaveArgs, ret *int) error {
	o.saves.Add(1)
	conn := o.redis.Get()
	defer conn.Close()
	member, err := json.Marshal(struct {
		Msg    json.RawMessage `json:"msg"`
		Expire int64           `json:"expire"`
	}{args.Msg, time.Now().Unix() + int64(args.Expire)})
	if err == nil {
		_, err = conn.Do("ZADD", args.Key, args.MsgId, member)
	}
	if err == nil {
		_, err = conn.Do("ZREMRANGEBYRANK", args.Key, 0, -oldStore-1)
	}
	return err
}

func (o *oldMessage) SavePrivates(args *OldSavesArgs, reply *OldFailed) error {
	for _, key := range args.Keys {
		var ret int
		if o.SavePrivate(&OldSaveArgs{Key: key, Msg: args.Msg, MsgId: args.MsgId, Expire: args.Expire}, &ret) != nil {
			reply.FKeys = append(reply.FKeys, key)
		}
	}
	return nil
}

func (o *oldMessage) GetPrivate(args *OldGetArgs, reply *OldGetReply) error {
	o.gets.Add(1)
	conn := o.redis.Get()
	defer conn.Close()
	row, err := redis.ByteSlices(conn.Do("ZRANGEBYSCORE", args.Key, fmt.Sprint("(", args.MsgId), "+inf", "WITHSCORES"))
	if err != nil {
		return err
	}
	for pair := range slices.Chunk(row, 2) {
		var m struct {
			Msg    json.RawMessage
			Expire int64
		}
		var score float64
		if _, err := fmt.Sscan(string(pair[1]), &score); err != nil {
			return err
		}
		if err := json.Unmarshal(pair[0], &m); err != nil {
			return err
		}
		if m.Expire > time.Now().Unix() {
			reply.Msgs = append(reply.Msgs, &storedMessage{Msg: m.Msg, MsgId: int64(score)})
		}
	}
	return nil
}

func (o *oldMessage) DelPrivate(key string, ret *int) error {
	conn := o.redis.Get()
	defer conn.Close()
	_, err := conn.Do("DEL", key)
	return err
}

func (o *oldMessage) Ping(_ int, ret *int) error { return nil }

// TestOldMessageBesideOurs runs a message daemon from before ours on the same
// Redis. Each call goes to one of the two: mids rise, live and offline agree, and
// what one has stored the other serves.
func TestOldMessageBesideOurs(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	old := &oldMessage{redis: &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", server.Addr()) }}}
	t.Cleanup(func() { old.redis.Close() })
	addr := serveOld(t, "MessageRPC", old)
	c := start(t, options{webs: 2, message: settings{"redis.prefix": "", `redis.source."shard1:1"`: "tcp@" + server.Addr()}})
	conn := c.dialZK()
	node, err := conn.Create(messagePath+"/", fmt.Appendf(nil, `{"rpc":[%q],"weight":2}`, addr), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if _, err := c.fetch(c.webs[0], "nobody", 0); err != nil {
			return err
		}
		if old.gets.Load() == 0 {
			return errors.New("nobody has called the old daemon")
		}
		return nil
	})

	const keys, pushes = 4, 40
	for k := range keys {
		key := fmt.Sprint("mixed-", k)
		cl := c.subscribe(key, "", "1.0")
		var stored []message
		last := int64(0)
		for i := range pushes {
			body, expire := fmt.Sprintf(`{"n":"<%d>"}`, i), 600
			if i%5 == 4 {
				expire = 0
			}
			if ret, err := c.push(c.webs[i%2], key, expire, body); ret != 0 || err != nil {
				t.Fatalf("%s: push %d: ret %d, %v", key, i, ret, err)
			}
			m := cl.message()
			if m.mid <= last || m.msg != strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(body) {
				t.Fatalf("%s: live %v after mid %d, want push %d", key, m, last, i)
			}
			if last = m.mid; expire > 0 {
				stored = append(stored, m)
			}
		}
		for range 8 { // by whichever
			if got := c.mustFetch(key, 0); !slices.Equal(got, stored[len(stored)-oldStore:]) {
				t.Fatalf("%s: fetched %v, want the newest of %v", key, got, stored)
			}
			if got := c.mustFetch(key, stored[len(stored)-3].mid); !slices.Equal(got, stored[len(stored)-2:]) {
				t.Fatalf("%s: fetched %v, want the newest two of %v", key, got, stored)
			}
		}
	}
	redisConn := old.redis.Get()
	defer redisConn.Close()
	ours, theirs := 0, 0
	for k := range keys {
		members, err := redis.Strings(redisConn.Do("ZRANGE", fmt.Sprint("mixed-", k), 0, -1))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if strings.HasPrefix(m, `{"mid":`) {
				ours++
			} else {
				theirs++
			}
		}
	}
	if ours == 0 || theirs == 0 {
		t.Errorf("%d messages are stored by ours, %d by the old one: want both at work", ours, theirs)
	}
	wantBody(t, send(t, c.webs[0].admin, "POST", "/1/admin/msg/del?key=mixed-0", ""), `{"ret":0}`)
	if got := c.mustFetch("mixed-0", 0); len(got) != 0 {
		t.Errorf("deleted, and %v is there", got)
	}

	// The last old one goes, and nothing is missing.
	if err := conn.Delete(node, -1); err != nil {
		t.Fatal(err)
	}
	before := c.mustFetch("mixed-1", 0)
	c.mustPush("mixed-1", `"alone"`)
	after := c.mustFetch("mixed-1", 0)
	if err := rising(after); err != nil || len(after) != oldStore || !slices.Equal(after[:oldStore-1], before[1:]) {
		t.Errorf("after the old one has gone: %v, %v, want one more than %v", after, err, before)
	}
}

// oldNode2 is a comet from before ours: it makes mids by its clock, and has them
// saved by a message daemon of ours.
type oldNode2 struct {
	message string // host:port

	mu     sync.Mutex
	pushed []string
	mids   []int64
	tokens []string
}

func (o *oldNode2) push(key string, msg json.RawMessage, expire uint) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := time.Now().UnixNano() / 100
	if expire > 0 {
		if ret, err := ask[int](o.message, "MessageRPC.SavePrivate", &savePrivateArgs{Key: key, Msg: msg, MsgId: id, Expire: expire}); ret != 0 || err != nil {
			return fmt.Errorf("not saved: %d, %w", ret, err)
		}
	}
	o.pushed, o.mids = append(o.pushed, fmt.Sprintf("%s %s %d", key, msg, expire)), append(o.mids, id)
	return nil
}

func (o *oldNode2) PushPrivate(args *OldPushArgs, ret *int) error {
	return o.push(args.Key, args.Msg, args.Expire)
}

func (o *oldNode2) PushPrivates(args *OldPushes, reply *OldFailed) error {
	for _, key := range args.Keys {
		if o.push(key, args.Msg, args.Expire) != nil {
			reply.FKeys = append(reply.FKeys, key)
		}
	}
	return nil
}

func (o *oldNode2) New(args *OldNewArgs, ret *int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = append(o.tokens, args.Key+" "+args.Token)
	return nil
}

func (o *oldNode2) Close(key string, ret *int) error             { return nil }
func (o *oldNode2) Migrate(args *OldMigrateArgs, ret *int) error { return nil }
func (o *oldNode2) Ping(_ int, ret *int) error                   { return nil }

// took returns what it was pushed since it was asked last, and the mids it gave.
func (o *oldNode2) took() (pushed []string, mids []int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	pushed, mids = o.pushed, o.mids
	o.pushed, o.mids = nil, nil
	return pushed, mids
}

// TestOldCometBesideOurs has a comet from before ours in the ring, beside one of
// ours, and replaces it by another of ours: its keys are served throughout, their
// mids rise, and what it had stored stays.
func TestOldCometBesideOurs(t *testing.T) {
	t.Parallel()
	old := &oldNode2{}
	addr := serveOld(t, "CometRPC", old)
	c := prepare(t, options{nodes: []string{"node1", "node2"}, webs: 2})
	old.message = c.messages[0].rpc
	conn := c.dialZK()
	acl := zk.WorldACL(zk.PermAll)
	var node string
	for _, n := range []struct {
		path string
		flag int32
		data string
	}{
		{cometPath, 0, ""}, {cometPath + "/node2", 0, ""},
		{cometPath + "/node2/", zk.FlagEphemeral | zk.FlagSequence, fmt.Sprintf(`{"rpc":[%q],"tcp":["127.0.0.9:1"],"ws":["127.0.0.9:2"],"weight":1}`, addr)},
	} {
		var err error
		if node, err = conn.Create(n.path, []byte(n.data), n.flag, acl); err != nil {
			t.Fatal(err)
		}
	}
	running := []*daemon{c.messages[0], c.comets[0], c.webs[0], c.webs[1]}
	for _, d := range running {
		d.Launch()
	}
	for _, d := range running {
		d.WaitReady()
	}
	// theirs and mine are a key of each comet, once all webs know both.
	var theirs, mine string
	testenv.Eventually(t, 20*time.Second, func() error {
		theirs, mine = "", ""
		for i := range 100 {
			key := fmt.Sprint("beside-", i)
			for _, w := range c.webs {
				switch at, err := serverOf(w, key); {
				case err != nil:
					return err
				case at == "127.0.0.9:1":
					theirs = key
				default:
					mine = key
				}
			}
		}
		if theirs == "" || mine == "" {
			return fmt.Errorf("a key of the old one: %q, of ours: %q", theirs, mine)
		}
		_, err := c.push(c.webs[0], mine, 0, `0`)
		return err
	})

	c.mustPush(theirs, `{ "a" : 1 }`)
	if ret, err := c.push(c.webs[1], theirs, 0, `"live"`); ret != 0 || err != nil {
		t.Errorf("push to who is online: ret %d, %v", ret, err)
	}
	if ret, failed, err := c.pushMany(c.webs[1], []string{mine, theirs}, 600, `"many"`); ret != 0 || len(failed) > 0 || err != nil {
		t.Errorf("mprivate: ret %d, fk %q, %v", ret, failed, err)
	}
	pushed, mids := old.took()
	if len(pushed) != 3 || !strings.HasPrefix(pushed[0], theirs+` {"a":1} 60`) || pushed[1] != theirs+` "live" 0` || !strings.HasPrefix(pushed[2], theirs+` "many" 60`) {
		t.Fatalf("the old comet was pushed %q", pushed)
	}
	kept := []message{{`{"a":1}`, mids[0]}, {`"many"`, mids[2]}}
	if got := c.mustFetch(theirs, 0); !slices.Equal(got, kept) {
		t.Errorf("fetched %v, want %v, as the old comet had it stored", got, kept)
	}
	if got := c.mustFetch(mine, 0); len(got) != 1 || got[0].msg != `"many"` {
		t.Errorf("fetched %v of our comet's key", got)
	}
	wantBody(t, get(t, c.webs[0].web, "/1/token/add?k="+theirs+"&t=x"), `{"ret":0}`)
	if !slices.Equal(old.tokens, []string{theirs + " x"}) {
		t.Errorf("the old comet was given the tokens %q", old.tokens)
	}

	// Ours takes its place.
	if err := conn.Delete(node, -1); err != nil {
		t.Fatal(err)
	}
	c.comets[1].Launch()
	c.ready()
	cl := c.subscribe(theirs, "", "1.0")
	if got := c.mustFetch(theirs, 0); !slices.Equal(got, kept) {
		t.Errorf("fetched %v, want %v", got, kept)
	}
	for i, expire := range []int{600, 0, 600} {
		body := fmt.Sprint(i)
		if ret, err := c.push(c.webs[i%2], theirs, expire, body); ret != 0 || err != nil {
			t.Fatalf("push %d: ret %d, %v", i, ret, err)
		}
		m := cl.message()
		if m.msg != body || m.mid <= kept[len(kept)-1].mid {
			t.Errorf("live %v after %v, want push %d", m, kept, i)
		}
		if expire > 0 {
			kept = append(kept, m)
		}
	}
	if got := c.mustFetch(theirs, 0); !slices.Equal(got, kept) {
		t.Errorf("fetched %v, want %v", got, kept)
	}
	if pushed, _ := old.took(); len(pushed) > 0 {
		t.Errorf("the old comet was still pushed %q", pushed)
	}
}
