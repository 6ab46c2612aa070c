package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	tests := []struct {
		name, in, want string
		err            error
	}{
		{"white space goes", " { \"a\" : [ 1 , 2 ] }\n", `{"a":[1,2]}`, nil},
		{"white space inside strings stays", `" a  b "`, `" a  b "`, nil},
		{"null is JSON", "null", "null", nil},
		{"HTML and line separators are escaped", "\"<>&\u2028\u2029\"", `"\u003c\u003e\u0026\u2028\u2029"`, nil},
		{"numbers keep their digits", `{"n":12345678901234567890.10}`, `{"n":12345678901234567890.10}`, nil},
		{"order and repeated names stay", `{"b":1,"a":2,"b":3}`, `{"b":1,"a":2,"b":3}`, nil},
		{"lone surrogate escapes stay", `"\ud800"`, `"\ud800"`, nil},
		{"empty", "", "", ErrNotJSON},
		{"two values", "1 2", "", ErrNotJSON},
		{"cut off", `{"a":`, "", ErrNotJSON},
		{"not UTF-8", "\"\xff\"", "", ErrNotUTF8},
		{"nested too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "", ErrNotJSON},
		{"too large", `"` + strings.Repeat("a", MaxBody) + `"`, "", ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Canonical([]byte(tt.in))
			if !errors.Is(err, tt.err) || string(got) != tt.want {
				t.Errorf("Canonical(%.60q) = %.60q, %v; want %.60q, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestMembers(t *testing.T) {
	ours := Message{Body: json.RawMessage(`{"nonce":"spoof","expire":1}`), Mid: 13999084541846480, Expires: 1900000000, Nonce: "n-1"}
	raw := AppendMember(nil, ours)
	if want := `{"mid":13999084541846480,"nonce":"n-1","expire":1900000000,"msg":{"nonce":"spoof","expire":1}}`; string(raw) != want {
		t.Fatalf("member = %s, want %s", raw, want)
	}
	tests := []struct {
		name  string
		raw   string
		score int64
		want  Message
		err   error
	}{
		{"ours: the mid is in the member", string(raw), 1, ours, nil},
		{"an old daemon's: the mid is the score", `{"msg":{ "a" : "<" },"expire":1900000000}`, 13999084541846408,
			Message{Body: json.RawMessage(`{"a":"\u003c"}`), Mid: 13999084541846408, Expires: 1900000000}, nil},
		{"no msg", `{"expire":1}`, 1, Message{}, ErrMember},
		{"no JSON", `{"msg":`, 1, Message{}, ErrMember},
		{"not an object", `17`, 1, Message{}, ErrMember},
		{"not UTF-8", "{\"msg\":\"\xff\",\"expire\":1}", 1, Message{}, ErrMember},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseMember([]byte(tt.raw), tt.score)
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if !bytes.Equal(got.Body, tt.want.Body) || got.Mid != tt.want.Mid || got.Expires != tt.want.Expires || got.Nonce != tt.want.Nonce {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	for _, tt := range []struct {
		expires, now int64
		want         bool
	}{{0, 100, false}, {101, 100, false}, {100, 100, true}, {99, 100, true}} {
		if got := (Message{Expires: tt.expires}).Expired(tt.now); got != tt.want {
			t.Errorf("expires %d at %d: %v, want %v", tt.expires, tt.now, got, tt.want)
		}
	}
}

func TestValidNonce(t *testing.T) {
	for s, want := range map[string]bool{"": true, "aZ0-_": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, `a"b`: false, "a b": false, "é": false} {
		if got := ValidNonce(s); got != want {
			t.Errorf("ValidNonce(%q) = %v, want %v", s, got, want)
		}
	}
}

func FuzzParseMember(f *testing.F) {
	f.Add([]byte(`{"mid":80,"nonce":"n","expire":1,"msg":{}}`), int64(1))
	f.Add([]byte(`{"msg":[],"expire":1}`), int64(7))
	f.Add([]byte(`{"mid":0,"nonce":"","expire":0,"msg":A}`), int64(1)) // our head before no JSON
	f.Add([]byte(`{"mid":1,"nonce":"","expire":0,"msg":{ "a":"<" }}`), int64(1))
	f.Fuzz(func(t *testing.T, raw []byte, score int64) {
		m, err := ParseMember(raw, score)
		if err != nil {
			return
		}
		if again, err := canonical(m.Body); err != nil || !bytes.Equal(again, m.Body) {
			t.Fatalf("body %q is not canonical: %q, %v", m.Body, again, err)
		}
		if !ValidNonce(m.Nonce) {
			return // never written by us
		}
		back, err := ParseMember(AppendMember(nil, m), m.Mid)
		if err != nil || back.Mid != m.Mid || back.Nonce != m.Nonce || back.Expires != m.Expires || !bytes.Equal(back.Body, m.Body) {
			t.Fatalf("round trip of %+v gave %+v, %v", m, back, err)
		}
	})
}

func TestCheck(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"a":"b c","d":[1,2]}`: true, `"\\"`: true, `"\"&"`: false, `"\" "`: true, `"\\" `: false,
		`{ "a":1}`: false, "1\n": false, `"<"`: false, `"\u003c"`: true, "\"\u2028\"": false, "\"\u2027é\"": true,
		`A`: false, ``: false, "\"\xff\"": false,
	} {
		if err := Check([]byte(body)); (err == nil) != ok {
			t.Errorf("Check(%q) = %v, want ok %v", body, err, ok)
		}
	}
}

// FuzzCheck holds Check against Canonical itself.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":"b c"}`, `"\\" `, `"\" "`, "\"\u2028\"", `[ 1]`, `"<"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		again, err := canonical(body)
		if want := err == nil && bytes.Equal(again, body); (Check(body) == nil) != want {
			t.Fatalf("Check(%q) = %v, but it is canonical: %v", body, Check(body), want)
		}
	})
}
