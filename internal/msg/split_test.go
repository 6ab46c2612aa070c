package msg

import (
	"bytes"
	"testing"
)

func TestSplitMember(t *testing.T) {
	for _, body := range []string{
		`1`, `{}`, `"x"`, `{"mid":1,"nonce":"n","expire":1,"msg":1}`, `{"a":",\"msg\":"}`, `[",\"nonce\":\""]`,
	} {
		want := Message{Body: []byte(body), Mid: 80, Expires: 7, Nonce: "a-Z_0"}
		for _, read := range []func([]byte) (Message, bool){
			SplitMember,
			func(raw []byte) (Message, bool) { m, err := ParseMember(raw, 1); return m, err == nil },
		} {
			got, ok := read(AppendMember(nil, want))
			if !ok || !bytes.Equal(got.Body, want.Body) || got.Mid != want.Mid || got.Expires != want.Expires || got.Nonce != want.Nonce {
				t.Errorf("body %s: got %+v, %t", body, got, ok)
			}
		}
	}
	for _, raw := range []string{
		``, `{`, `{"msg":1,"expire":2}`, `{"mid":1,"msg":1}`, `{"mid":1,"nonce":"n","expire":2,"msg":`,
		`{"mid":1,"nonce":"n","expire":2,"msg":}`, `{"mid":x,"nonce":"n","expire":2,"msg":1}`,
		`{"mid":1,"nonce":"n\"","expire":2,"msg":1}`, `{"mid":1,"nonce":"n","expire":,"msg":1}`,
		`{"mid":99999999999999999999,"nonce":"n","expire":2,"msg":1}`, ` {"mid":1,"nonce":"n","expire":2,"msg":1}`,
	} {
		if m, ok := SplitMember([]byte(raw)); ok {
			t.Errorf("%q is taken for one of ours: %+v", raw, m)
		}
	}
}

// FuzzSplitMember: what SplitMember takes for ours is byte for byte what
// AppendMember writes, or at least says the same.
func FuzzSplitMember(f *testing.F) {
	f.Add([]byte(`{"mid":80,"nonce":"n","expire":7,"msg":{"a":1}}`))
	f.Add([]byte(`{"msg":{"a":1},"expire":7}`))
	f.Add([]byte(`{"mid":080,"nonce":"","expire":-7,"msg":,"msg":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, ok := SplitMember(raw)
		if !ok {
			return
		}
		again, ok := SplitMember(AppendMember(nil, m))
		if !ok || again.Mid != m.Mid || again.Expires != m.Expires || again.Nonce != m.Nonce || !bytes.Equal(again.Body, m.Body) {
			t.Errorf("%q: %+v became %+v, %t", raw, m, again, ok)
		}
	})
}
