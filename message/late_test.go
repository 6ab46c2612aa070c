package message

import (
	"encoding/json"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
)

// A daemon that was frozen reads saves whose callers went to another one.
func TestSaveOfACallerThatGaveUpIsLeftAlone(t *testing.T) {
	f := newFake()
	h := newShard("node1", 1, f)
	h.found(nil)
	s := &Service{shards: newShards([]*shard{h}), timeout: time.Second}
	save := func(at int64) (peer.Code, int64) {
		t.Helper()
		args := peer.SaveArgs{
			Bodies: []json.RawMessage{json.RawMessage("1")}, Budget: 1000, Sent: peer.Sent{By: 7, At: at},
			Items: []peer.SaveItem{{Key: "k", ExpireAt: 1 << 32, Nonce: "n"}},
		}
		var reply peer.SaveReply
		if err := s.Save(&args, &reply); err != nil || len(reply.Results) != 1 {
			t.Fatalf("%+v, %v", reply, err)
		}
		return reply.Results[0].Code, f.saves.Load()
	}
	if code, n := save(100_000); code != peer.OK || n != 1 {
		t.Errorf("in time: %v, %d saves", code, n)
	}
	if code, n := save(70_000); code != peer.Failed || n != 1 {
		t.Errorf("30 s late: %v, %d saves; want it left alone", code, n)
	}
	if code, n := save(100_100); code != peer.OK || n != 2 {
		t.Errorf("in time again: %v, %d saves", code, n)
	}
}
