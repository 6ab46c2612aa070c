package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// fieldsOf returns the keys of a struct and where their fields are. An
// embedded struct without a tag lends its keys to the outer one, whose own go
// first.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := make(map[string][]int)
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("toml") == "" {
			for name, index := range fieldsOf(f.Type) {
				fields[name] = append([]int{i}, index...)
			}
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("toml"); name != "" && name != "-" && f.IsExported() {
			fields[name] = f.Index
		}
	}
	return fields
}

// keys returns every key below at that t holds, tables included, dotted.
func keys(t reflect.Type, at toml.Key) []string {
	var all []string
	fields := fieldsOf(t)
	for _, name := range sortedKeys(fields) {
		key := append(slices.Clip(at), name)
		all = append(all, key.String())
		if f := t.FieldByIndex(fields[name]); f.Type.Kind() == reflect.Struct {
			all = append(all, keys(f.Type, key)...)
		}
	}
	return all
}

// Keys returns every key that a file for config may hold, dotted, tables left
// out. config is a struct such as a daemon's Config. Tests compare the keys
// with the documentation.
func Keys(config any) []string {
	var leaves []string
	all := keys(reflect.TypeOf(config), nil)
	for i, key := range all {
		if i+1 < len(all) && len(all[i+1]) > len(key) && all[i+1][:len(key)+1] == key+"." {
			continue
		}
		leaves = append(leaves, key)
	}
	return leaves
}

// field returns the value of key, one of Keys, in a struct.
func field(in reflect.Value, key string) reflect.Value {
	for name := range strings.SplitSeq(key, ".") {
		in = in.FieldByIndex(fieldsOf(in.Type())[name])
	}
	return in
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// nearest returns the known key that key was most likely meant to be: one in
// the same table of which a third of the letters is mistyped at most, rounded up
// (two that are swapped are two), or the only one whose last part it is. It returns "" if there is none.
func nearest(key toml.Key, known []string) string {
	table, name := "", key[len(key)-1]
	if len(key) > 1 {
		table = key[:len(key)-1].String() + "."
	}
	if len(name) > 128 { // no typing error, and too long to compare
		return ""
	}
	best, distance := "", (len(name)+2)/3+1
	for _, k := range known {
		if rest, ok := strings.CutPrefix(k, table); ok {
			if d := editDistance(name, rest); d < distance {
				best, distance = k, d
			}
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known {
		if strings.HasSuffix(k, "."+key.String()) {
			if best != "" {
				return ""
			}
			best = k
		}
	}
	return best
}

// editDistance returns how many bytes must be added, dropped or replaced to
// turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
