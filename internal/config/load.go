package config

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// ErrUnknownKey means that a file has a key which no file of its kind has.
var ErrUnknownKey = errors.New("unknown key")

// maxFile is more than any configuration needs; it keeps a wrong path (a
// device, a log) from filling the memory.
const maxFile = 4 << 20

// Load reads the TOML file at path over into, a pointer to a struct that holds
// the defaults. Its error is an *Error with everything that is wrong: a file
// that cannot be read, a syntax error, unknown keys, wrong types. What is wrong
// keeps its default, so that after an error into can still be checked for the
// rest, and used for nothing else.
func Load(path string, into any) error {
	p := Problems{path: path}
	text, err := read(path)
	if err != nil {
		p.Addf("%w", err)
		return p.Err()
	}
	load(text, reflect.ValueOf(into).Elem(), &p)
	return p.Err()
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		var e *os.PathError
		if errors.As(err, &e) {
			err = e.Err // Problems names the path already
		}
		return "", fmt.Errorf("cannot open it: %w; give the file with -c", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read it: %w", err)
	case len(text) > maxFile:
		return "", fmt.Errorf("more than %d bytes: this is no configuration", maxFile)
	}
	return string(text), nil
}

func load(text string, into reflect.Value, p *Problems) {
	var file map[string]any
	if _, err := toml.Decode(text, &file); err != nil {
		p.Addf("%s", strings.TrimPrefix(err.Error(), "toml: "))
		return
	}
	l := loader{problems: p, known: keys(into.Type(), nil)}
	l.table(nil, file, into)
}

// loader puts a parsed file into a struct. The TOML package's own decoding
// stops at the first wrong type.
type loader struct {
	problems *Problems
	known    []string // every key there is, dotted
}

func (l *loader) table(at toml.Key, table map[string]any, into reflect.Value) {
	fields := fieldsOf(into.Type())
	for _, name := range sortedKeys(table) {
		key := append(slices.Clip(at), name)
		index, ok := fields[name]
		if !ok {
			l.unknown(key, table[name])
			continue
		}
		l.value(key, table[name], into.FieldByIndex(index))
	}
}

// unknown notes a key that no file of this kind has. Of a table of such keys
// those come out alone that are known without it: channel.auth is web's auth.
func (l *loader) unknown(key toml.Key, v any) {
	if near := nearest(key, l.known); near != "" {
		l.problems.Addf("%s: %w; did you mean %s?", key, ErrUnknownKey, near)
		return
	}
	table, _ := v.(map[string]any)
	elsewhere := func(name string) bool { return slices.Contains(l.known, name) }
	if !slices.ContainsFunc(sortedKeys(table), elsewhere) {
		l.problems.Addf("%s: %w; remove it", key, ErrUnknownKey)
		return
	}
	for _, name := range sortedKeys(table) {
		if at := append(slices.Clip(key), name); elsewhere(name) {
			l.problems.Addf("%s: %w; did you mean %s?", at, ErrUnknownKey, name)
		} else {
			l.problems.Addf("%s: %w; remove it", at, ErrUnknownKey)
		}
	}
}

// value sets into to v, or notes that v is of the wrong type.
func (l *loader) value(key toml.Key, v any, into reflect.Value) {
	if u, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		s, isString := v.(string)
		if !isString {
			l.wrong(key, v, into.Type())
			return
		}
		before := reflect.New(into.Type()).Elem()
		before.Set(into)
		if err := u.UnmarshalText([]byte(s)); err != nil {
			l.problems.Addf("%s = %q: %w", key, s, err)
			into.Set(before)
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if table, ok := v.(map[string]any); ok {
			l.table(key, table, into)
			return
		}
	case reflect.Map:
		if table, ok := v.(map[string]any); ok {
			before, good := len(l.problems.all), reflect.MakeMap(into.Type())
			for _, name := range sortedKeys(table) {
				item := reflect.New(into.Type().Elem()).Elem()
				l.value(append(slices.Clip(key), name), table[name], item)
				good.SetMapIndex(reflect.ValueOf(name), item)
			}
			if len(l.problems.all) == before {
				into.Set(good)
			}
			return
		}
	case reflect.Slice:
		if array, ok := v.([]any); ok {
			good := reflect.MakeSlice(into.Type(), len(array), len(array))
			for i, item := range array {
				if reflect.TypeOf(item) != into.Type().Elem() {
					l.wrong(key, v, into.Type())
					return
				}
				good.Index(i).Set(reflect.ValueOf(item))
			}
			into.Set(good)
			return
		}
	case reflect.String, reflect.Bool, reflect.Float64:
		if reflect.TypeOf(v) == into.Type() {
			into.Set(reflect.ValueOf(v))
			return
		}
	case reflect.Int, reflect.Int64:
		if n, ok := v.(int64); ok && !into.OverflowInt(n) {
			into.SetInt(n)
			return
		}
	default:
		panic(fmt.Sprintf("config: %s has a field of type %s, which no file can hold", key, into.Type()))
	}
	l.wrong(key, v, into.Type())
}

func (l *loader) wrong(key toml.Key, v any, want reflect.Type) {
	l.problems.Addf("%s = %s: want %s", key, show(v), wanted(want))
}

// wanted says in the reader's words what a value of type t looks like.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return `a duration in quotes, like "30s"`
	case reflect.TypeFor[Size]():
		return `a size in quotes, like "64KB"`
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Slice:
		return `an array of strings, like ["a", "b"]`
	case reflect.String:
		return "a string in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number with a decimal point"
	}
	return "a whole number"
}

// show prints v as it would stand in a file; of tables and long values only
// what kind they are.
func show(v any) string {
	switch v := v.(type) {
	case map[string]any, []map[string]any:
		return "a table"
	case string:
		if len(v) > 64 {
			return "a long string"
		}
		return fmt.Sprintf("%q", v)
	case []any:
		if len(v) > 8 {
			return "a long array"
		}
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = show(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v)
}
