package directory

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/registry"
	"gopush-cluster/internal/testenv"
)

// seer answers View as a comet and as a message daemon.
type seer struct {
	told peer.ViewReply
	err  error
}

func (s *seer) View(_ int, reply *peer.ViewReply) error {
	*reply = s.told
	return s.err
}

// mute is too old to be asked.
type mute struct{}

func (mute) Ping(int, *int) error { return nil }

func TestAsk(t *testing.T) {
	const mine = "127.0.0.1:1"
	standby := peer.ViewReply{Epoch: 12, Nodes: map[string]int{"node1": 1, "node2": 1}, Addrs: map[string][]string{"node1": {"127.0.0.1:9"}}}
	without := peer.ViewReply{Epoch: 11, Nodes: map[string]int{"node2": 1}}
	older := peer.ViewReply{Epoch: 9, Nodes: map[string]int{"node2": 1}}
	for _, tt := range []struct {
		name           string
		comet, message any // what is at their ends; nil: nobody
		there          bool
		epoch          int64 // of the ring afterwards
		owns           bool  // of node1's keys
	}{
		{"nobody is there", nil, nil, false, 10, true},
		{"only a comet, which knows a newer ring", &seer{told: without}, nil, true, 11, false},
		{"only a message daemon, which does", nil, &seer{told: without}, true, 11, false},
		{"the newest counts: a standby has taken over", &seer{told: standby}, &seer{told: without}, true, 12, false},
		{"an older ring", nil, &seer{told: older}, true, 10, true},
		{"one that knows no ring", nil, &seer{}, true, 10, true},
		{"one that fails", &seer{err: errors.New("no")}, nil, true, 10, true},
		{"an old one", nil, mute{}, true, 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := func(name string, service any) string {
				if service == nil {
					return testenv.FreeAddr(t)
				}
				addr, _ := serve(t, name, service)
				return addr
			}
			reg := newFakeRegistry()
			d := New(Options{Registry: reg, Self: self{"node1", mine}, Timeout: 2 * time.Second})
			defer d.links.close()
			s := comets(10, mine, at("CometRPC", tt.comet))
			s.Messages = messages(at("MessageRPC", tt.message)).Messages
			d.read(s)
			key := keyOf(t, d, "node1")
			reg.away.Store(true)
			if d.Connected() || d.Ask(t.Context()) != tt.there {
				t.Errorf("somebody is there: want %v", tt.there)
			}
			if got := d.View().Epoch; got != tt.epoch {
				t.Errorf("epoch = %d, want %d", got, tt.epoch)
			}
			if err := d.Owns(key); (err == nil) != tt.owns {
				t.Errorf("Owns = %v, want owned: %v", err, tt.owns)
			}
			if len(d.View().messages) != 1 {
				t.Error("the message daemons are forgotten")
			}
			reg.away.Store(false)
			d.read(s)
			if err := d.Owns(key); err != nil {
				t.Errorf("Owns when the registry is back = %v", err)
			}
		})
	}
}

// What is told is what was read, and can be taken over as it is.
func TestTell(t *testing.T) {
	d := New(Options{Registry: newFakeRegistry()})
	s := comets(10, "127.0.0.1:1", "127.0.0.1:2")
	s.Comets[1].Children = nil
	s.Comets[1].Last = registry.Info{RPC: []string{"127.0.0.1:7"}, Weight: 1}
	s.Comets = append(s.Comets, registry.Node{Name: "node3", Weight: 5})
	d.read(s)
	got := d.Tell()
	if got.Epoch != 10 || !maps.Equal(got.Nodes, map[string]int{"node1": 1, "node2": 1, "node3": 5}) {
		t.Errorf("told %+v", got)
	}
	want := map[string][]string{"node1": {"127.0.0.1:1"}, "node2": {"127.0.0.1:7"}}
	if !maps.EqualFunc(got.Addrs, want, slices.Equal[[]string]) {
		t.Errorf("addresses %v, want %v", got.Addrs, want)
	}
}
