package comet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// alive runs f beside followPeers.
func alive(t *testing.T, f func(*testing.T, *rig)) {
	t.Helper()
	bubble(t, func(c *Config) { c.Migrate.Rate = 1000 }, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.followPeers(ctx) }()
		f(t, r)
		cancel()
		<-done
	})
}

// A comet is alone when for half a minute neither ZooKeeper nor anybody else was
// there. It lets its clients go, and takes them when somebody is.
func TestAlone(t *testing.T) {
	alive(t, func(t *testing.T, r *rig) {
		sess, sock := r.live("k")
		r.ring.cut(true, true)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if sess.ended() || r.alone.Load() {
			t.Fatal("alone too soon")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !sess.ended() || sess.reason() != endAlone {
			t.Fatalf("ended=%v reason=%v after 35 s", sess.ended(), sess.reason())
		}
		if s := sock.written.String(); s != "+h\r\n-n\r\n" {
			t.Errorf("the client was told %q", s)
		}
		sock.Close()
		if r.Ready(t.Context()) == nil {
			t.Error("ready, though alone")
		}
		if res := r.push("k", "1", true); res.Code != peer.NotMine {
			t.Errorf("push: %v, want not_mine", res.Code)
		}
		if _, err := r.subscribe(newFakeSocket(), wire.Sub{Key: "k", Heartbeat: time.Minute, Mid: -1, Pmid: -1}, overTCP); err == nil {
			t.Error("a client was taken")
		}
		r.ring.cut(true, false)
		time.Sleep(askEvery)
		synctest.Wait()
		_, back := r.live("k")
		r.mustPush("k", "2", true)
		wantBodies(t, back, "2")
	})
}

func TestNotAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(*rig) // every second
	}{
		{"ZooKeeper is there", func(r *rig) { r.ring.cut(false, true) }},
		{"others answer", func(r *rig) { r.ring.cut(true, false) }},
		{"a web pings", func(r *rig) { r.ring.cut(true, true); (&Service{r.Server}).Ping(0, new(int)) }},
		{"a web tells the ring", func(r *rig) {
			r.ring.cut(true, true)
			(&Service{r.Server}).Migrate(&peer.MigrateArgs{}, new(int))
		}},
		{"somebody is there now and then", func(r *rig) { r.ring.cut(true, time.Now().Second()/20 == 1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alive(t, func(t *testing.T, r *rig) {
				sess, _ := r.live("k")
				for range 120 {
					tt.cut(r)
					time.Sleep(time.Second)
				}
				if sess.ended() || r.alone.Load() {
					t.Errorf("ended=%v alone=%v, want neither", sess.ended(), r.alone.Load())
				}
				if r.ring.asked == 0 && tt.name != "ZooKeeper is there" {
					t.Error("nobody was asked")
				}
			})
		})
	}
}

func TestViewIsTold(t *testing.T) {
	r := start(t, nil)
	var got peer.ViewReply
	if err := r.rpc().Call("CometRPC.View", 0, &got); err != nil || got.Epoch != 7 || got.Nodes["node1"] != 1 {
		t.Errorf("View = %+v, %v; want what Peers tells", got, err)
	}
}
