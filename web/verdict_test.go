package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/registry"
)

// testReap are rules that no default equals.
var testReap = Reap{
	Grace:    config.Duration(4 * time.Second),
	Window:   config.Duration(9 * time.Second),
	Failures: 5,
	Interval: config.Duration(20 * time.Second),
}

// story is what one web sees, second by second.
type story struct {
	verdict
	now   time.Time
	nodes map[string]registry.Node
	hears map[string]heard // by place; whoever is not in it answers
}

func newStory(names ...string) *story {
	s := &story{verdict: verdict{rules: testReap}, now: at, nodes: make(map[string]registry.Node), hears: make(map[string]heard)}
	for _, name := range names {
		s.join(name, name)
	}
	return s
}

// join registers a comet at place under node.
func (s *story) join(node, place string) {
	n := s.nodes[node]
	n.Name = node
	i := registry.Info{RPC: []string{place}}
	n.Children = append(slices.Clone(n.Children), registry.Child{Name: fmt.Sprint(len(n.Children)), Info: i})
	n.Last = n.Children[0].Info
	s.nodes[node] = n
}

// lose ends the sessions of a node's comets.
func (s *story) lose(names ...string) {
	for _, name := range names {
		n := s.nodes[name]
		n.Children = nil
		s.nodes[name] = n
	}
}

func (s *story) mute(places ...string) {
	for _, p := range places {
		s.hears[p] = silence
	}
}

// sees is one look and one round of pings. It returns who is dead, and takes
// them out.
func (s *story) sees() []string {
	nodes := slices.SortedFunc(maps.Values(s.nodes), byNodeName)
	s.look(s.now, nodes)
	answers := make(map[string]heard)
	for _, p := range places(nodes) {
		answers[p] = anAnswer
		if h, ok := s.hears[p]; ok {
			answers[p] = h
		}
	}
	var dead []string
	for _, n := range s.judge(s.now, nodes, answers) {
		dead = append(dead, n.Name)
		if len(n.Children) > 1 {
			n.Children = n.Children[1:]
			s.nodes[n.Name] = n
		} else {
			delete(s.nodes, n.Name)
		}
	}
	return dead
}

// wait lets d pass and returns who died when: "4s: node1 node2".
func (s *story) wait(d time.Duration) []string {
	var deaths []string
	for passed := time.Duration(0); passed <= d; passed += time.Second {
		if dead := s.sees(); len(dead) > 0 {
			deaths = append(deaths, fmt.Sprint(passed, ": ", dead))
		}
		s.now = s.now.Add(time.Second)
	}
	return deaths
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		tell func(*story) // to a cluster of node1, node2 and node3
		want []string     // in the minute after it
	}{
		{"all is well", func(*story) {}, nil},

		{"killed: gone, and nobody answers", func(s *story) { s.lose("node1"); s.mute("node1") }, []string{"4s: [node1]"}},
		{"it lost only its session: it answers", func(s *story) { s.lose("node1") }, nil},
		{"all sessions expired at once: all answer", func(s *story) { s.lose("node1", "node2", "node3") }, nil},
		{"all are dead: all go together, even the last", func(s *story) {
			s.lose("node1", "node2", "node3")
			s.mute("node1", "node2", "node3")
		}, []string{"4s: [node1 node2 node3]"}},
		{"two of three are dead", func(s *story) { s.lose("node1", "node2"); s.mute("node1", "node2") }, []string{"4s: [node1 node2]"}},
		{"it was back within the grace", func(s *story) {
			s.lose("node1")
			s.mute("node1")
			s.wait(2 * time.Second)
			s.join("node1", "node1b")
		}, nil},
		{"gone again: the grace begins anew", func(s *story) {
			s.lose("node1")
			s.mute("node1")
			s.wait(2 * time.Second)
			s.join("node1", "node1")
			s.wait(0)
			s.lose("node1")
		}, []string{"4s: [node1]"}},
		{"gone, and of no known address", func(s *story) {
			s.nodes["node1"] = registry.Node{Name: "node1"}
		}, []string{"9s: [node1]"}},
		{"gone, and where it was another node's comet lives now", func(s *story) {
			s.lose("node1")
			s.join("node4", "node1")
		}, []string{"9s: [node1]"}},
		{"it restarts in place, and keeps the node", func(s *story) {
			s.lose("node1")
			s.mute("node1")
			n := s.nodes["node1"]
			n.Keep = s.now.Add(30 * time.Second)
			s.nodes["node1"] = n
		}, []string{"30s: [node1]"}},
		{"the trouble is our own", func(s *story) { s.lose("node1"); s.hears["node1"] = nothing }, nil},

		{"hung: registered, and silent for long", func(s *story) { s.mute("node1") }, []string{"9s: [node1]"}},
		{"frozen for 3 s", func(s *story) {
			s.mute("node1")
			s.wait(3 * time.Second)
			clear(s.hears)
		}, nil},
		{"it answers every eighth second", func(s *story) {
			for range 8 {
				s.mute("node1")
				s.wait(6 * time.Second)
				clear(s.hears)
				s.wait(0)
			}
		}, nil},
		{"two of three hang: who knows whose fault it is", func(s *story) { s.mute("node1", "node2") }, nil},
		{"two of five hang: one at a time", func(s *story) {
			s.join("node4", "node4")
			s.join("node5", "node5")
			s.mute("node5")
			s.wait(0)
			s.mute("node1")
		}, []string{"8s: [node5]", "28s: [node1]"}},
		{"this web is cut off", func(s *story) { s.mute("node1", "node2", "node3") }, nil},
		{"this web is cut off, and a session expired", func(s *story) {
			s.lose("node1")
			s.mute("node1", "node2", "node3")
		}, nil},
		{"this web has run out of files", func(s *story) {
			for _, n := range []string{"node1", "node2", "node3"} {
				s.hears[n] = nothing
			}
		}, nil},
		{"one hangs of two", func(s *story) { delete(s.nodes, "node3"); s.mute("node1") }, []string{"9s: [node1]"}},
		{"the last one hangs", func(s *story) {
			delete(s.nodes, "node2")
			delete(s.nodes, "node3")
			s.mute("node1")
		}, nil},
		{"the last one but those that are dead", func(s *story) {
			s.lose("node2")
			s.mute("node1", "node2")
			delete(s.nodes, "node3")
		}, nil},
		{"the last one hangs, and a standby waits: it takes over", func(s *story) {
			delete(s.nodes, "node2")
			delete(s.nodes, "node3")
			s.join("node1", "standby")
			s.mute("node1")
		}, []string{"9s: [node1]"}},
		{"a standby hangs", func(s *story) { s.join("node1", "standby"); s.mute("standby") }, nil},
		{"registered without an address", func(s *story) {
			n := s.nodes["node1"]
			n.Children = []registry.Child{{Name: "1"}}
			s.nodes["node1"] = n
		}, nil},

		{"one is dead and one hangs: the dead first", func(s *story) {
			s.lose("node1")
			s.mute("node1", "node2")
		}, []string{"4s: [node1]", "9s: [node2]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory("node1", "node2", "node3")
			s.wait(time.Second)
			c.tell(s)
			if got := s.wait(time.Minute); !slices.Equal(got, c.want) {
				t.Errorf("died %q, want %q", got, c.want)
			}
		})
	}
}

// A web that slept knows nothing of the time in between.
func TestVerdictAfterSleep(t *testing.T) {
	for _, c := range []struct {
		name string
		lose bool
		want []string
	}{
		{"gone when it fell asleep", true, []string{"4s: [node1]"}},
		{"silent when it fell asleep", false, []string{"9s: [node1]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory("node1", "node2")
			if c.lose {
				s.lose("node1")
			}
			s.mute("node1")
			s.wait(3 * time.Second)
			s.now = s.now.Add(time.Hour)
			if got := s.wait(time.Minute); !slices.Equal(got, c.want) {
				t.Errorf("died %q, want %q", got, c.want)
			}
		})
	}
}

// Who begins to work has asked nobody yet, but has seen who is registered.
func TestVerdictDoubts(t *testing.T) {
	s := newStory("node1", "node2", "node3")
	s.mute("node1", "node2")
	s.lose("node2")
	s.now = at
	for range 8 {
		s.look(s.now, slices.SortedFunc(maps.Values(s.nodes), byNodeName))
		s.now = s.now.Add(time.Second)
	}
	s.doubt()
	want := []string{"0s: [node2]", "9s: [node1]"}
	if got := s.wait(time.Minute); !slices.Equal(got, want) {
		t.Errorf("died %q, want %q", got, want)
	}
}

// Few pings in a long time say little.
func TestVerdictWantsEnoughPings(t *testing.T) {
	s := newStory("node1", "node2")
	s.rules.Failures = 20
	s.mute("node1")
	if got := s.wait(time.Minute); !slices.Equal(got, []string{"19s: [node1]"}) {
		t.Errorf("died %q, want node1 with the twentieth ping, after 19 s", got)
	}
}

// Whatever stands in a node's data does not hold it for ever.
func TestVerdictKeepsForAnHourAtMost(t *testing.T) {
	s := newStory("node1", "node2")
	s.lose("node1")
	s.mute("node1")
	n := s.nodes["node1"]
	n.Keep = s.now.Add(1000 * time.Hour)
	s.nodes["node1"] = n
	if got := s.wait(keepMost - time.Second); got != nil {
		t.Errorf("died %q within %v", got, keepMost)
	}
	if got := s.wait(time.Minute); !slices.Equal(got, []string{"0s: [node1]"}) {
		t.Errorf("died %q after %v, want node1 at once", got, keepMost)
	}
}

func byNodeName(a, b registry.Node) int { return cmp.Compare(a.Name, b.Name) }
