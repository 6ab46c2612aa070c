package registry

import (
	"bytes"
	"testing"
)

func TestParseInfo(t *testing.T) {
	addr := []string{"127.0.0.1:1"}
	for _, c := range []struct {
		name, data string
		want       Info
		bad        bool
	}{
		{"comet", `{"rpc":["127.0.0.1:1"],"tcp":["127.0.0.1:1"],"ws":["127.0.0.1:1"],"weight":1}`, Info{addr, addr, addr, 1}, false},
		{"message", `{"rpc":["127.0.0.1:1"],"weight":2}`, Info{RPC: addr, Weight: 2}, false},
		{"nothing", ``, Info{}, false},
		{"white space", " \n", Info{}, false},
		{"fields of a newer daemon", `{"keep":1790000000,"weight":3,"zone":{"a":null}}`, Info{Weight: 3}, false},
		{"null", `{"rpc":null,"weight":null}`, Info{}, false},
		{"not JSON", `127.0.0.1:1`, Info{}, true},
		{"no object", `["127.0.0.1:1"]`, Info{}, true},
		{"a field of another type, the rest is used", `{"rpc":["127.0.0.1:1"],"weight":"2","tcp":7}`, Info{RPC: addr}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseInfo([]byte(c.data))
			if !got.equal(c.want) || (err != nil) != c.bad {
				t.Errorf("parseInfo(%s) = %+v, %v; want %+v, error: %v", c.data, got, err, c.want, c.bad)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		info Info
		want string
	}{
		{message(1, 2), `{"rpc":["127.0.0.1:9990"],"weight":2}`},
		{Info{}, `{"rpc":[],"weight":0}`},
	} {
		if got := c.info.encode(); string(got) != c.want {
			t.Errorf("encode(%+v) = %s, want %s", c.info, got, c.want)
		}
	}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		candidates []int
		want       int
	}{
		{[]int{3, 4, 5}, 3},
		{[]int{0, 4, 5}, 4},
		{[]int{0, 0, 5}, 5},
		{[]int{0, 0, 0}, 1},
		{[]int{-1, 2}, 2},
		{[]int{1 << 30}, 100},
		{nil, 1},
	} {
		if got := weight(c.candidates...); got != c.want {
			t.Errorf("weight(%v) = %d, want %d", c.candidates, got, c.want)
		}
	}
}

// Whatever a znode holds, reading it must not fail in another way than by an
// error, and what was understood must survive being written again.
func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"rpc":["127.0.0.1:6970"],"tcp":["127.0.0.1:6969"],"ws":["127.0.0.1:6968"],"weight":1}`))
	f.Add([]byte(`{"rpc":["127.0.0.1:9989"],"weight":"2","x":{}}`))
	f.Add([]byte(`{"RPC":[null],"weight":1e2}`))
	f.Add([]byte(`[1,2`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, _ := parseInfo(data)
		again, err := parseInfo(i.encode())
		if err != nil {
			t.Fatalf("own data is not read: %v", err)
		}
		if !bytes.Equal(again.encode(), i.encode()) {
			t.Errorf("%+v came back as %+v", i, again)
		}
	})
}
