package wire

import (
	"errors"
	"math"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSub(t *testing.T) {
	long := strings.Repeat("k", MaxKey)
	tests := []struct {
		name string
		args [6]string // key, heartbeat, token, version, mid, pmid
		want Sub
	}{
		{"the least", [6]string{"k", "30"}, Sub{Key: "k", Heartbeat: 30 * time.Second, Mid: NoMid, Pmid: NoMid}},
		{"everything", [6]string{"k", "31", "t", "1.0", "5", "6"}, Sub{"k", 31 * time.Second, "t", "1.0", 5, 6}},
		{"resume from the start", [6]string{"k", "30", "", "1", "0", ""}, Sub{"k", 30 * time.Second, "", "1", 0, NoMid}},
		{"the longest key", [6]string{long, "30"}, Sub{Key: long, Heartbeat: 30 * time.Second, Mid: NoMid, Pmid: NoMid}},
		{"the largest mid", [6]string{"k", "30", "", "1", "9223372036854775807"}, Sub{"k", 30 * time.Second, "", "1", math.MaxInt64, NoMid}},
		{"a heartbeat that a Duration cannot hold", [6]string{"k", "9223372036854775807"}, Sub{Key: "k", Heartbeat: MaxHeartbeat, Mid: NoMid, Pmid: NoMid}},
		{"a heartbeat past int64", [6]string{"k", strings.Repeat("9", 40)}, Sub{Key: "k", Heartbeat: MaxHeartbeat, Mid: NoMid, Pmid: NoMid}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ParseSub(subArgs(tt.args)); err != nil || got != tt.want {
				t.Errorf("ParseSub(%q) = %+v, %v, want %+v", tt.args, got, err, tt.want)
			}
			if got, err := SubFromQuery(subQuery(tt.args)); err != nil || got != tt.want {
				t.Errorf("SubFromQuery(%q) = %+v, %v, want %+v", tt.args, got, err, tt.want)
			}
		})
	}
}

func TestSubRefuses(t *testing.T) {
	const secret = "do-not-print-me"
	for name, args := range map[string][6]string{
		"an empty key":               {"", "30", secret},
		"a key of 256 bytes":         {strings.Repeat("k", MaxKey+1), "30", secret},
		"no heartbeat":               {"k", "", secret},
		"a heartbeat of 29":          {"k", "29", secret},
		"a heartbeat below zero":     {"k", "-30", secret},
		"a heartbeat below int64":    {"k", "-" + strings.Repeat("9", 40), secret},
		"a heartbeat with a unit":    {"k", "30s", secret},
		"a heartbeat with a point":   {"k", "30.5", secret},
		"a heartbeat with a space":   {"k", " 30", secret},
		"a mid below zero":           {"k", "30", secret, "1", "-1"},
		"a mid that is no number":    {"k", "30", secret, "1", "x"},
		"a mid with an exponent":     {"k", "30", secret, "1", "1e5"},
		"a mid past int64":           {"k", "30", secret, "1", "9223372036854775808"},
		"a pmid below zero":          {"k", "30", secret, "1", "0", "-1"},
		"a pmid that is no number":   {"k", "30", secret, "1", "", "x"},
		"a pmid with invalid digits": {"k", "30", secret, "1", "", "1_000"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func() (Sub, error){
				func() (Sub, error) { return ParseSub(subArgs(args)) },
				func() (Sub, error) { return SubFromQuery(subQuery(args)) },
			} {
				got, err := parse()
				if !errors.Is(err, ErrParam) || got != (Sub{}) {
					t.Errorf("%q gives %+v, %v, want ErrParam", args, got, err)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds the token: %v", err)
				}
			}
		})
	}
	for _, args := range [][][]byte{nil, {[]byte("SUB"), []byte("k"), []byte("30")}, {[]byte(""), []byte("k"), []byte("30")}} {
		if _, err := ParseSub(args); !errors.Is(err, ErrParam) {
			t.Errorf("ParseSub(%q): %v, want ErrParam", args, err)
		}
	}
}

func TestOld(t *testing.T) {
	if !(Sub{}).Old() || (Sub{Version: "1.0"}).Old() {
		t.Error("a client is old exactly when it gave no version")
	}
}

func FuzzParseSub(f *testing.F) {
	f.Add("sub", "k1", "30", "token", "1.0", "0", "80")
	f.Add("sub", "", "29", "", "", "-1", "9223372036854775808")
	f.Fuzz(func(t *testing.T, name, key, heartbeat, token, version, mid, pmid string) {
		s, err := ParseSub([][]byte{[]byte(name), []byte(key), []byte(heartbeat), []byte(token), []byte(version), []byte(mid), []byte(pmid)})
		if err != nil {
			if !errors.Is(err, ErrParam) || s != (Sub{}) {
				t.Fatalf("%+v, %v: an unknown error, or one with a result", s, err)
			}
			return
		}
		if s.Key != key || s.Token != token || s.Version != version || len(key) == 0 || len(key) > MaxKey {
			t.Fatalf("%+v is not what was sent", s)
		}
		if s.Heartbeat < MinHeartbeat || s.Heartbeat > MaxHeartbeat {
			t.Fatalf("heartbeat %q gives %v", heartbeat, s.Heartbeat)
		}
		for _, m := range []struct {
			in  string
			got int64
		}{{mid, s.Mid}, {pmid, s.Pmid}} {
			want, err := strconv.ParseInt(m.in, 10, 64)
			if m.in == "" {
				want, err = NoMid, nil
			}
			if err != nil || m.got != want || m.in != "" && want < 0 {
				t.Fatalf("mid %q gives %d", m.in, m.got)
			}
		}
	})
}

func subArgs(a [6]string) [][]byte {
	args := [][]byte{[]byte("sub")}
	for _, s := range a {
		args = append(args, []byte(s))
	}
	return args
}

func subQuery(a [6]string) url.Values {
	q := make(url.Values)
	for i, name := range []string{"key", "heartbeat", "token", "ver", "mid", "pmid"} {
		if a[i] != "" {
			q.Set(name, a[i])
		}
	}
	return q
}
