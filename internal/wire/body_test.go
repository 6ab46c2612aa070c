package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// oracle is the body as encoding/json writes it.
func oracle(t *testing.T, canonical []byte, mid int64, gid int, old bool) []byte {
	t.Helper()
	var v any = json.RawMessage(canonical)
	if old {
		v = string(canonical)
	}
	b, err := json.Marshal(struct {
		Msg any   `json:"msg"`
		Mid int64 `json:"mid"`
		Gid int   `json:"gid"`
	}{v, mid, gid})
	if err != nil {
		t.Fatalf("%q: %v", canonical, err)
	}
	return b
}

// checkBody compares all three renderings with the oracle.
func checkBody(t *testing.T, canonical []byte, mid int64, gid int, old bool) {
	t.Helper()
	want := oracle(t, canonical, mid, gid, old)
	b := NewBody(canonical, gid, old)
	const before = "before" // an Append keeps what is there
	if got := b.AppendJSON([]byte(before), mid); string(got) != before+string(want) {
		t.Fatalf("AppendJSON = %q, want %q", got, want)
	}
	if got := b.AppendTCP([]byte(before), mid); string(got) != fmt.Sprintf("%s$%d\r\n%s\r\n", before, len(want), want) {
		t.Fatalf("AppendTCP = %q, want the frame of %q", got, want)
	}
	got := b.AppendWS([]byte(before), mid)
	if text := AppendText([]byte(before), want); !bytes.Equal(got, text) {
		t.Fatalf("AppendWS = %q, want %q", got, text)
	}
}

func TestBody(t *testing.T) {
	for _, canonical := range []string{
		`null`, `0`, `""`, `{}`, `[1,2]`, `"a\"b\\c"`, `{"a":"\u003cscript\u003e \u2028"}`, `"\u0000\ud800"`, `"é\u007f` + "\x7f" + `"`,
		`"` + strings.Repeat("m", 70_000) + `"`,
	} {
		for _, mid := range []int64{0, 9, 80, 13999084541846408, math.MaxInt64} {
			for gid := range 2 {
				checkBody(t, []byte(canonical), mid, gid, false)
				checkBody(t, []byte(canonical), mid, gid, true)
			}
		}
	}
}

// TestBodyLengths walks the body over the places where a length changes its
// form: its digits over TCP, its bytes over WebSocket.
func TestBodyLengths(t *testing.T) {
	for _, around := range []int{100, 125, 126, 1000, 0xffff, 0x10000, 100_000} {
		for n := around - 60; n < around+3; n++ {
			checkBody(t, []byte(`"`+strings.Repeat("m", n)+`"`), 80, 0, false)
		}
	}
}

func TestBodyAllocatesNothing(t *testing.T) {
	b := NewBody([]byte(`{"test":"`+strings.Repeat("m", 500)+`"}`), 0, false)
	dst := make([]byte, 0, 1024)
	for name, f := range map[string]func([]byte, int64) []byte{"AppendTCP": b.AppendTCP, "AppendWS": b.AppendWS, "AppendJSON": b.AppendJSON} {
		if n := testing.AllocsPerRun(100, func() { f(dst, math.MaxInt64) }); n != 0 {
			t.Errorf("%s allocates %g times where dst has room, want 0", name, n)
		}
	}
}

// FuzzBody compares with encoding/json. Input that is no JSON stands in as a
// JSON string.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"test":1}`), int64(13999084541846408), 0, false)
	f.Add([]byte(`"<b>\u2028"`), int64(0), 1, true)
	f.Add([]byte("\xff\x00"), int64(-1), -1, true)
	f.Fuzz(func(t *testing.T, in []byte, mid int64, gid int, old bool) {
		// Marshal compacts and escapes, as msg.Canonical does.
		canonical, err := json.Marshal(json.RawMessage(in))
		if err != nil {
			canonical, _ = json.Marshal(strconv.Quote(string(in)))
		}
		checkBody(t, canonical, mid, gid, old)
	})
}

func BenchmarkBodyAppendTCP(b *testing.B) {
	body := NewBody([]byte(`{"test":"`+strings.Repeat("m", 90)+`"}`), 0, false)
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		dst = body.AppendTCP(dst[:0], 13999084541846408)
	}
}
