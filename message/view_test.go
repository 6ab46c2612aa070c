package message

import (
	"testing"

	"gopush-cluster/internal/peer"
)

func TestView(t *testing.T) {
	want := peer.ViewReply{Epoch: 7, Nodes: map[string]int{"node1": 2}, Addrs: map[string][]string{"node1": {"127.0.0.1:1"}}}
	for name, s := range map[string]*Service{
		"a ring":    {view: func() peer.ViewReply { return want }},
		"no ring":   {},
		"it panics": {view: func() peer.ViewReply { panic("test") }},
	} {
		var got peer.ViewReply
		err := s.View(0, &got)
		switch name {
		case "a ring":
			same(t, name, got, want)
		case "no ring":
			same(t, name, got, peer.ViewReply{})
		case "it panics":
			if err == nil {
				t.Error("no error of a panic")
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
