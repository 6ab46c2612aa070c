package comet

import (
	"io"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/peer"
)

func TestWeightIsToldToOthers(t *testing.T) {
	r := start(t, nil)
	var ret int
	for _, bad := range []int{-1, 0, 101} {
		err := r.rpc().Call("CometRPC.Weight", peer.WeightArgs{Weight: bad}, &ret)
		if err == nil || !strings.Contains(err.Error(), peer.ErrInvalid.Error()) || !strings.Contains(err.Error(), "1..100") {
			t.Errorf("weight %d: %v, want it refused with the bounds", bad, err)
		}
	}
	if err := r.rpc().Call("CometRPC.Weight", peer.WeightArgs{Weight: 7}, &ret); err != nil {
		t.Fatal(err)
	}
	want := r.info
	want.Weight = 7
	if got := <-r.member.set; got.Weight != 7 || got.RPC[0] != want.RPC[0] || got.TCP[0] != want.TCP[0] || got.WS[0] != want.WS[0] {
		t.Errorf("others are told %+v, want %+v", got, want)
	}
}

// CometRPC.Drain is SIGTERM from afar, but for good.
func TestDrainFromAfarGivesThePlaceUp(t *testing.T) {
	r := start(t, func(c *Config) { c.Drain.Keep = config.Duration(time.Hour) })
	conn := r.dial()
	io.WriteString(conn, sub("k", "30", "", "1.0"))
	expect(t, conn, "+h\r\n")
	var ret int
	if err := r.rpc().Call("CometRPC.Drain", 0, &ret); err != nil {
		t.Fatalf("Drain: %v, want an answer before the end", err)
	}
	expect(t, conn, "-n\r\n")
	conn.Close()
	err := <-r.ended
	r.ended <- err
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	select {
	case <-r.member.left:
	default:
		t.Error("it did not leave the ring")
	}
	if len(r.member.kept) != 0 {
		t.Errorf("the place is kept until %v", r.member.kept)
	}
	if r.Ready(t.Context()) == nil {
		t.Error("ready after it")
	}
}
