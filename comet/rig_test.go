package comet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/wire"
)

// rig is a comet without a network: its sessions have fake sockets.
type rig struct {
	*Server
	t     *testing.T
	msgs  *fakeMessages
	ring  *fakeRing
	nonce atomic.Int64
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.TCP.Bind = []string{"127.0.0.1:0"}
	cfg.WebSocket.Bind = []string{"127.0.0.1:0"}
	cfg.RPC.Bind = []string{"127.0.0.1:0"}
	cfg.Channel.Bucket = 4
	cfg.ZooKeeper.Addr = []string{"127.0.0.1:2181"}
	return cfg
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, msgs: newFakeMessages(), ring: newFakeRing()}
	s, err := New(cfg, Deps{Ring: r.ring, Moves: r.ring, Peers: r.ring, Messages: r.msgs, Join: func(registry.Info) Member { return &fakeMember{} }})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	s.lanes.known.Store(true) // there is one
	s.closeListeners()
	return r
}

// close ends all sessions and checks that nothing stays behind.
func (r *rig) close() {
	r.t.Helper()
	r.env.table.each(func(c *channel) bool {
		c.hold()
		c.post(ending(func(s *session) { s.end(endDrain) }))
		return true
	})
	r.sockets.Wait()
	r.lanes.close()
	r.env.forwards.close()
	r.tasks.Wait()
	// A read that is to be tried again holds its channel until then.
	for end := time.Now().Add(2 * readTimeout); r.env.table.len() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := r.env.table.len(); n != 0 {
		r.t.Errorf("%d channels stay behind", n)
	}
	if n := r.stats.queued.Load(); n != 0 {
		r.t.Errorf("%d bytes stay counted as queued", n)
	}
}

// join connects a client to key.
func (r *rig) join(key string, sock *fakeSocket) (*session, *fakeSocket) {
	r.t.Helper()
	if sock == nil {
		sock = newFakeSocket()
	}
	return r.connect(key, wire.NoMid, sock), sock
}

// resume connects a client to key that has seen mid.
func (r *rig) resume(key string, mid int64) (*session, *fakeSocket) {
	r.t.Helper()
	sock := newFakeSocket()
	return r.connect(key, mid, sock), sock
}

func (r *rig) connect(key string, mid int64, sock socket) *session {
	r.t.Helper()
	sess, err := r.subscribe(sock, wire.Sub{Key: key, Heartbeat: 30 * time.Second, Version: "1.0", Mid: mid, Pmid: wire.NoMid}, overTCP)
	if err != nil {
		r.t.Fatalf("join %s: %v", key, err)
	}
	r.sockets.Go(func() {
		sock.Read(nil)
		sess.end(endClient)
		r.leave(sess)
	})
	return sess
}

// live connects a client and waits until its hold is over.
func (r *rig) live(key string) (*session, *fakeSocket) {
	r.t.Helper()
	sess, sock := r.join(key, nil)
	time.Sleep(2 * time.Second)
	return sess, sock
}

// push pushes body to key, stored if expire.
func (r *rig) push(key, body string, expire bool) peer.PushResult {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return r.Server.push(ctx, []peer.Push{r.item(body, expire, key)})[0]
}

func (r *rig) item(body string, expire bool, keys ...string) peer.Push {
	p := peer.Push{Keys: keys, Msg: json.RawMessage(body)}
	if expire {
		p.ExpireAt = time.Now().Unix() + 3600
		p.Nonce = fmt.Sprintf("%p-%d", r, r.nonce.Add(1)) // rigs may share a store
	}
	return p
}

func (r *rig) mustPush(key, body string, expire bool) int64 {
	r.t.Helper()
	res := r.push(key, body, expire)
	if res.Code != peer.OK {
		r.t.Fatalf("push %s to %s: code %d", body, key, res.Code)
	}
	return res.Mid
}

// bubble runs f with a fake clock and a rig that it closes.
func bubble(t *testing.T, change func(*Config), f func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		f(t, r)
		r.close()
	})
}

func wantBodies(t *testing.T, sock *fakeSocket, want ...string) {
	t.Helper()
	all := sock.messages(t)
	if b := bodies(all); !slices.Equal(b, want) {
		t.Errorf("received %v, want %v", b, want)
	}
	if !rising(all) {
		t.Errorf("mids do not rise: %v", all)
	}
}

// hookOn returns a hook that runs f for calls named op.
func hookOn(op string, f func() error) func(string) error {
	return func(got string) error {
		if got != op {
			return nil
		}
		return f()
	}
}

// tell tells the comet of a message that was stored without it.
func (r *rig) tell(key string, m int64) {
	r.t.Helper()
	if err := (&Service{r.Server}).Sync(&peer.SyncArgs{Keys: []peer.PendingKey{{Key: key, Mid: m}}}, &peer.SyncReply{}); err != nil {
		r.t.Fatal(err)
	}
}
