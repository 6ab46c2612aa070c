package directory

import (
	"fmt"
	"maps"
	"slices"
)

// changes says in words, for the log, how next differs from v: "node1: weight 1,
// now 3". It is empty where only what nobody here goes by is different, such as
// versions.
func (v *View) changes(next *View) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, name := range union(v.places, next.places) {
		was, had := v.places[name]
		now, has := next.places[name]
		switch {
		case !had && now.link.addr == "": // its znode is there a moment before its comet's
			say("%s is new: weight %d, nobody is there yet", name, now.node.Weight)
			continue
		case !had:
			say("%s is new: weight %d at %s", name, now.node.Weight, now.link.addr)
			continue
		case !has:
			say("%s is gone", name)
			continue
		}
		if a, b := was.node.Weight, now.node.Weight; a != b {
			say("%s: weight %d, now %d", name, a, b)
		}
		before, after := was.node.Children, now.node.Children
		switch {
		case len(before) > 0 && len(after) == 0:
			say("%s is away, its place is kept", name)
		case len(before) == 0 && len(after) > 0:
			say("%s is back at %s", name, now.link.addr)
		case len(after) > 0 && before[0].Name != after[0].Name:
			say("%s: %s at %s took over from %s", name, after[0].Name, now.link.addr, before[0].Name)
		case was.link.addr != now.link.addr:
			say("%s: at %s, now %s", name, was.link.addr, now.link.addr)
		}
		if a, b := max(len(before)-1, 0), max(len(after)-1, 0); a != b {
			say("%s: %d standing by, now %d", name, a, b)
		}
	}
	was, now := weightsOf(v.messages), weightsOf(next.messages)
	for _, addr := range union(was, now) {
		a, had := was[addr]
		b, has := now[addr]
		switch {
		case !had:
			say("message %s is new: weight %d", addr, b)
		case !has:
			say("message %s is gone", addr)
		case a != b:
			say("message %s: weight %d, now %d", addr, a, b)
		}
	}
	if len(all) == 0 && v.Epoch == 0 {
		say("nobody is registered")
	}
	return all
}

// role says in words what this comet is in v. A web is nothing.
func (d *Directory) role(v *View) string {
	if d.self == nil {
		return ""
	}
	name := d.self.Node()
	p, ok := v.places[name]
	switch {
	case ok && d.mine(p.node):
		return "this comet serves " + name
	case ok && len(p.node.Children) > 0:
		return "this comet stands by for " + name
	}
	return "this comet has no place in the ring"
}

// union returns the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// weightsOf returns the weights of message daemons by their addresses.
func weightsOf(members []member) map[string]int {
	weights := make(map[string]int, len(members))
	for _, m := range members {
		weights[m.link.addr] = m.weight
	}
	return weights
}
