package config

import (
	"reflect"
	"slices"
	"strings"
)

// Diff returns the keys, dotted and sorted, whose values differ between two
// configurations of one type. A daemon that has read its file again compares
// what it applied with what it read: the rest needs a restart.
func Diff[C any](a, b C) []string {
	var differ []string
	diff("", reflect.ValueOf(a), reflect.ValueOf(b), &differ)
	return differ
}

// Restart returns the keys that differ in next and need a restart: all but those
// in taken, which a running daemon takes over. A name in taken that ends with a
// dot is a whole table.
func Restart[C any](running, next C, taken []string) []string {
	return slices.DeleteFunc(Diff(running, next), func(key string) bool {
		return slices.ContainsFunc(taken, func(t string) bool {
			return key == t || strings.HasSuffix(t, ".") && strings.HasPrefix(key, t)
		})
	})
}

func diff(at string, a, b reflect.Value, differ *[]string) {
	if a.Kind() != reflect.Struct {
		if !same(a, b) {
			*differ = append(*differ, at)
		}
		return
	}
	fields := fieldsOf(a.Type())
	for _, name := range sortedKeys(fields) {
		key := name
		if at != "" {
			key = at + "." + name
		}
		diff(key, a.FieldByIndex(fields[name]), b.FieldByIndex(fields[name]), differ)
	}
}

// same reports whether a and b are equal. A list that is not given and one that
// is given and empty mean the same.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
