package comet

import (
	"testing"
	"time"

	"gopush-cluster/internal/peer"
)

// A comet that was frozen reads pushes whose callers gave up meanwhile. Some of
// them were stored by web, and pushed out by newer ones since: no nonce tells any
// more that they were.
func TestPushOfACallerThatGaveUpIsLeftAlone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		v := &Service{r.Server}
		_, sock := r.live("k")
		began := time.Now()
		call := func(p peer.Push, ago time.Duration) peer.PushResult {
			t.Helper()
			args := peer.PushArgs{Pushes: []peer.Push{p}, Budget: 1800, Sent: peer.Sent{By: 7, At: time.Since(began.Add(ago)).Milliseconds()}}
			var reply peer.PushReply
			if err := v.Push(&args, &reply); err != nil || len(reply.Results) != 1 {
				t.Fatalf("%+v, %v", reply, err)
			}
			return reply.Results[0]
		}
		if res := call(r.item("1", true, "k"), 0); res.Code != peer.OK {
			t.Fatalf("code %v", res.Code)
		}
		original := r.item("2", true, "k")
		r.msgs.most = 2
		r.msgs.direct("k", "2", original.Nonce)
		r.store("k", 3, 5)
		time.Sleep(30 * time.Second)
		if res := call(original, 29*time.Second); res.Code != peer.Failed || res.Mid != 0 {
			t.Errorf("after 29 s: %+v, want Failed", res)
		}
		if res := call(r.item(`"live"`, false, "k"), 29*time.Second); res.Code != peer.Failed {
			t.Errorf("not stored, after 29 s: %+v, want Failed", res)
		}
		if res := call(r.item("6", true, "k"), time.Second); res.Code != peer.OK {
			t.Errorf("after a second: %+v", res)
		}
		time.Sleep(5 * time.Second)
		wantBodies(t, sock, "1", "5", "6")
		if n := r.stats.late.Load(); n != 2 {
			t.Errorf("%d are counted as late, want 2", n)
		}
	})
}
