package registry

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testRecall = 40 * time.Second

// told is what a pass lists, in words: "node1=3@a" is a place of weight 3 whose
// comet, at a, is registered; "node1" one without a comet; "m@b" a message daemon.
type told string

func (l told) pass(root, zxid int64) pass {
	p := pass{root: root, pzxid: zxid}
	for _, word := range strings.Fields(string(l)) {
		name, addr, _ := strings.Cut(word, "@")
		name, weight, _ := strings.Cut(name, "=")
		info := fmt.Appendf(nil, `{"rpc":["%s"],"weight":%s}`, addr, cmp.Or(weight, "1"))
		switch {
		case name == "m":
			p.messages = append(p.messages, rawChild{name: fmt.Sprintf("%010d", len(p.messages)), data: info, mzxid: zxid})
		case addr == "":
			p.comets = append(p.comets, rawNode{name: name, mzxid: zxid, pzxid: zxid})
		default:
			p.comets = append(p.comets, rawNode{
				name: name, data: info, mzxid: zxid, pzxid: zxid,
				children: []rawChild{{name: "0000000000", data: info, mzxid: zxid}},
			})
		}
	}
	return p
}

// words says what s lists, in the words of told: a place whose comet is away,
// and known by its last address, is "(node1=3@a)".
func words(s Snapshot) string {
	var all []string
	for _, n := range s.Comets {
		w := fmt.Sprintf("%s=%d@%s", n.Name, n.Weight, n.Info().Addr())
		if len(n.Children) == 0 {
			w = "(" + w + ")"
		}
		all = append(all, w)
	}
	for _, c := range s.Messages {
		all = append(all, "m@"+c.Info.Addr())
	}
	return strings.Join(all, " ")
}

func TestForgotten(t *testing.T) {
	const before = "node1=3@a node2=1@b m@x m@y"
	type step struct {
		after time.Duration // since the first pass that follows the loss
		lists told
		zxid  int64
		want  string
	}
	for _, tt := range []struct {
		name  string
		root  int64 // 1 is the one before
		steps []step
	}{
		{"nobody is registered yet", 2, []step{
			{0, "", 1, "(node1=3@a) (node2=1@b) m@x m@y"},
		}},
		{"one after the other comes back", 2, []step{
			{0, "node2=1@b", 2, "(node1=3@a) node2=1@b m@x m@y"},
			{9 * time.Second, "node2=1@b m@y", 3, "(node1=3@a) node2=1@b m@x m@y"},
			{10 * time.Second, "node1=3@a node2=1@b m@y m@x", 4, "node1=3@a node2=1@b m@y m@x"},
		}},
		{"a place without its comet yet has the weight and address that it had", 2, []step{
			{0, "node1 node2=1@b", 2, "(node1=3@a) node2=1@b m@x m@y"},
		}},
		{"who is back may leave, and who is new is there at once", 2, []step{
			{0, "node2=1@b node3=1@c", 2, "(node1=3@a) node2=1@b node3=1@c m@x m@y"},
			{time.Second, "node3=1@c m@x", 3, "(node1=3@a) node3=1@c m@x m@y"},
			{2 * time.Second, "node3=1@c", 4, "(node1=3@a) node3=1@c m@y"},
		}},
		{"what is registered counts, whatever was", 2, []step{
			{0, "node1=5@c node2=1@b m@x m@y", 2, "node1=5@c node2=1@b m@x m@y"},
		}},
		{"who does not come back is given up", 2, []step{
			{0, "node2=1@b m@x", 2, "(node1=3@a) node2=1@b m@x m@y"},
			{testRecall - 1, "node2=1@b m@x", 2, "(node1=3@a) node2=1@b m@x m@y"},
			{testRecall, "node2=1@b m@x", 2, "node2=1@b m@x"},
		}},
		{"forgotten once more", 2, []step{
			{0, "node1=3@a", 7, "node1=3@a (node2=1@b) m@x m@y"},
			{30 * time.Second, "", 1, "(node1=3@a) (node2=1@b) m@x m@y"},
			{30*time.Second + testRecall - 1, "", 1, "(node1=3@a) (node2=1@b) m@x m@y"},
			{30*time.Second + testRecall, "", 1, ""},
		}},
		{"wiped, and with more transactions than before", 2, []step{
			{0, "", 1000, "(node1=3@a) (node2=1@b) m@x m@y"},
		}},
		{"an older state: transactions count again from there", 1, []step{
			{0, "node1 m@x", 9, "(node1=3@a) (node2=1@b) m@x m@y"},
			{time.Second, "node1=3@a m@x", 12, "node1=3@a (node2=1@b) m@x m@y"},
		}},
		{"nothing is lost: who is not listed has left", 1, []step{
			{0, "node2=1@b m@x", 11, "node2=1@b m@x"},
			{0, "", 12, ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, start := reader{forgotten: forgotten{recall: testRecall}}, time.Now()
			if got := words(r.snapshot(told("").pass(1, 1), start)); got != "" {
				t.Fatalf("at first: %s", got)
			}
			if got := words(r.snapshot(told(before).pass(1, 10), start)); got != before {
				t.Fatalf("before: %s, want %s", got, before)
			}
			for i, s := range tt.steps {
				got := r.snapshot(s.lists.pass(tt.root, s.zxid), start.Add(s.after))
				if words(got) != s.want {
					t.Errorf("step %d: %q, want %q", i, words(got), s.want)
				}
				if got.Root != tt.root {
					t.Errorf("step %d: root %d, want %d", i, got.Root, tt.root)
				}
				for _, n := range got.Comets {
					if away := len(n.Children) == 0; away != n.Keep.After(start.Add(s.after)) {
						t.Errorf("step %d: %s is kept until %v, want it kept as long as it is away", i, n.Name, n.Keep)
					}
				}
			}
		})
	}
}

func TestMoment(t *testing.T) {
	for _, tt := range []struct {
		name   string
		m, n   moment
		before bool
	}{
		{"nothing was seen yet", moment{}, moment{1, 5, 7}, true},
		{"nothing has changed", moment{1, 5, 7}, moment{1, 5, 7}, true},
		{"a node came or went", moment{1, 5, 7}, moment{1, 8, 8}, true},
		{"a comet registered", moment{1, 5, 7}, moment{1, 5, 9}, true},
		{"another root", moment{1, 5, 7}, moment{2, 9, 9}, false},
		{"an older list of nodes, where somebody has registered since", moment{1, 5, 7}, moment{1, 4, 9}, false},
		{"the same nodes, as they were before", moment{1, 5, 7}, moment{1, 5, 6}, false},
	} {
		if got := tt.m.before(tt.n); got != tt.before {
			t.Errorf("%s: %v before %v: %v, want %v", tt.name, tt.m, tt.n, got, tt.before)
		}
	}
}

// The time in which ZooKeeper cannot be read does not count: nobody can come
// back in it.
func TestForgottenWhileAway(t *testing.T) {
	r, start := reader{forgotten: forgotten{recall: testRecall}}, time.Now()
	r.snapshot(told("node1=1@a node2=1@b").pass(1, 10), start)
	r.snapshot(told("").pass(2, 1), start)
	r.interrupt()
	r.interrupt()
	back := start.Add(5 * time.Minute)
	for _, s := range []struct {
		after time.Duration
		want  string
	}{
		{0, "(node1=1@a) node2=1@b"},
		{testRecall - 1, "(node1=1@a) node2=1@b"},
		{testRecall, "node2=1@b"},
	} {
		if got := words(r.snapshot(told("node2=1@b").pass(2, 3), back.Add(s.after))); got != s.want {
			t.Errorf("%v after ZooKeeper is back: %q, want %q", s.after, got, s.want)
		}
	}
}

// What was handed on is not changed by what is read later.
func TestForgottenChangesNoSnapshot(t *testing.T) {
	r, start := reader{forgotten: forgotten{recall: testRecall}}, time.Now()
	var all []Snapshot
	var said []string
	for i, s := range []struct {
		lists told
		root  int64
	}{
		{"node1=1@a node2=2@b node3=1@c m@x m@y", 1}, {"", 2}, {"node2 m@y", 2}, {"node1=1@a node3=1@c m@x", 2}, {"", 3},
	} {
		all = append(all, r.snapshot(s.lists.pass(s.root, int64(i)), start.Add(time.Duration(i)*time.Second)))
		said = append(said, words(all[i]))
	}
	for i, s := range all {
		if words(s) != said[i] {
			t.Errorf("snapshot %d was %q, and is %q now", i, said[i], words(s))
		}
	}
}

// Who does not come back is given up in time, though nothing signals a change.
func TestForgottenAreGivenUpInTime(t *testing.T) {
	fake(t, func(ctx context.Context, m *Memory) {
		b := newBase(m.nodes.open(), m.paths)
		b.recall = testRecall
		if err := b.ensure(ctx, "/comet/node1"); err != nil {
			t.Fatal(err)
		}
		var last atomic.Pointer[Snapshot]
		go b.Watch(ctx, func(s Snapshot) { last.Store(&s) })
		synctest.Wait()
		m.nodes.mu.Lock()
		m.nodes.nodes, m.nodes.zxid = map[string]*memoryNode{"/": {}}, 0
		m.nodes.mu.Unlock()
		b.refresh()
		for _, s := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {testRecall - 1, 1}, {1, 0}} {
			time.Sleep(s.after)
			synctest.Wait()
			if got := last.Load(); len(got.Comets) != s.want {
				t.Errorf("the watch says %+v, want %d nodes", got, s.want)
			}
		}
	})
}
