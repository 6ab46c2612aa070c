package assemble

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"gopush-cluster/comet"
	"gopush-cluster/internal/registry"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

// Every number that a daemon shows is explained in docs/operations.md.
func TestNumbersAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Numbers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	anyPort := []string{"127.0.0.1:0"}

	cc := comet.DefaultConfig()
	cc.TCP.Bind, cc.WebSocket.Bind, cc.RPC.Bind, cc.Stat.Bind, cc.Pprof.Bind = anyPort, anyPort, anyPort, nil, nil
	c, err := newComet(cc, registry.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	wc := web.DefaultConfig()
	wc.HTTP.Bind, wc.Admin.Bind, wc.Stat.Bind, wc.Pprof.Bind = anyPort, anyPort, nil, nil
	w, err := newWeb(wc, registry.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	mc := message.DefaultConfig()
	mc.RPC.Bind, mc.Stat.Bind, mc.Pprof.Bind = anyPort, nil, nil
	m, err := newMessage(mc, registry.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	for daemon, stat := range map[string]any{"comet": c.Stat(), "web": w.Stat(), "message": m.Stat()} {
		names := numbers("", reflect.ValueOf(stat))
		if len(names) < 5 {
			t.Fatalf("%s shows %q, want more", daemon, names)
		}
		for _, name := range names {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("%s shows %s, which docs/operations.md does not explain", daemon, name)
			}
		}
	}
}

// numbers returns the names of what v shows as JSON, those in a map behind that
// of the map. The names in lists and under URLs stand for themselves.
func numbers(at string, v reflect.Value) []string {
	var names []string
	switch v.Kind() {
	case reflect.Struct:
		fields := reflect.VisibleFields(v.Type())
		for _, f := range fields {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" { // of another package: a time
				return []string{strings.TrimSuffix(at, ".")}
			}
			names = append(names, numbers(at+name+".", v.FieldByIndex(f.Index))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if strings.HasPrefix(key.String(), "/") {
				names = append(names, strings.TrimSuffix(at, "."))
				names = append(names, numbers("", v.MapIndex(key))...)
				continue
			}
			names = append(names, numbers(at+key.String()+".", v.MapIndex(key))...)
		}
	case reflect.Slice:
		names = append(names, strings.TrimSuffix(at, "."))
		names = append(names, numbers("", reflect.Zero(v.Type().Elem()))...)
	default:
		names = []string{strings.TrimSuffix(at, ".")}
	}
	return names
}
