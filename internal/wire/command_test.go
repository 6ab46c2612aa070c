package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseCommand(t *testing.T) {
	largest := command("sub", strings.Repeat("k", 4000), "30", strings.Repeat("t", MaxCommand-4037))
	if len(largest) != MaxCommand {
		t.Fatalf("the largest command has %d bytes, want %d", len(largest), MaxCommand)
	}
	tests := []struct {
		name string
		in   string
		args []string
		rest string
	}{
		{"one argument", command("sub"), []string{"sub"}, ""},
		{"seven arguments", command("sub", "k", "30", "t", "1.0", "5", "6"), []string{"sub", "k", "30", "t", "1.0", "5", "6"}, ""},
		{"empty arguments", command("", ""), []string{"", ""}, ""},
		{"any bytes", command("a\r\nb", "\x00\xff", "$3\r\n"), []string{"a\r\nb", "\x00\xff", "$3\r\n"}, ""},
		{"the largest", largest, []string{"sub", strings.Repeat("k", 4000), "30", strings.Repeat("t", MaxCommand-4037)}, ""},
		{"leading zeros", "*01\r\n$0000000003\r\nsub\r\n", []string{"sub"}, ""},
		{"heartbeats behind", command("sub") + "hhh", []string{"sub"}, "hhh"},
		{"another command behind", command("sub") + command("x"), []string{"sub"}, command("x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args, n, err := ParseCommand([]byte(tt.in))
			if err != nil {
				t.Fatalf("ParseCommand(%q): %v", tt.in, err)
			}
			got := make([]string, len(args))
			for i, a := range args {
				got[i] = string(a)
			}
			if !slices.Equal(got, tt.args) || tt.in[n:] != tt.rest {
				t.Errorf("ParseCommand(%q) = %q, rest %q, want %q, %q", tt.in, got, tt.in[n:], tt.args, tt.rest)
			}
			for i := range n { // every shorter input needs more, and nothing else
				if args, m, err := ParseCommand([]byte(tt.in[:i])); args != nil || m != 0 || err != nil {
					t.Fatalf("ParseCommand(%q) = %q, %d, %v, want more", tt.in[:i], args, m, err)
				}
			}
		})
	}
}

// TestParseCommandRefuses wants each error at the first byte that shows it: in
// without its last byte may still become a command.
func TestParseCommandRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"not a command":           "G",
		"a heartbeat first":       "h",
		"no count":                "*\r",
		"a count below zero":      "*-",
		"a count with a sign":     "*+",
		"a count of zero":         "*0\r\n",
		"a count of eight":        "*8",
		"a count of many digits":  "*00000000000",
		"a count with a space":    "*3 ",
		"a count ended by LF":     "*3\n",
		"a count ended by CR CR":  "*3\r\r",
		"no length":               "*1\r\n$\r",
		"no dollar":               "*1\r\n3",
		"a length below zero":     "*1\r\n$-",
		"a length with a sign":    "*1\r\n$+",
		"a length over the limit": "*1\r\n$4097",
		"a length past int64":     "*1\r\n$9999",
		"a length of many digits": "*1\r\n$00000000000",
		"too long with the rest":  "*7\r\n$4060\r\n",
		"too long in all":         "*3\r\n$3\r\nsub\r\n$4000\r\n" + strings.Repeat("k", 4000) + "\r\n$90\r\n",
		"an argument too long":    "*1\r\n$3\r\nsubx",
		"an argument ended by LF": "*1\r\n$3\r\nsub\n",
		"CR and no LF":            "*1\r\n$3\r\nsub\rx",
		"an argument too short":   "*2\r\n$4\r\nsub\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if args, n, err := ParseCommand([]byte(in)); !errors.Is(err, ErrProtocol) || args != nil || n != 0 {
				t.Errorf("ParseCommand(%q) = %q, %d, %v, want ErrProtocol", in, args, n, err)
			}
			before := in[:len(in)-1]
			if args, n, err := ParseCommand([]byte(before)); args != nil || n != 0 || err != nil {
				t.Errorf("ParseCommand(%q) = %q, %d, %v, want more", before, args, n, err)
			}
		})
	}
}

// TestParseCommandEnds sends streams that never become a command: each is
// refused within MaxCommand bytes, so nobody has to buffer more.
func TestParseCommandEnds(t *testing.T) {
	for name, pattern := range map[string]string{
		"digits":    "1",
		"zeros":     "0",
		"no CRLF":   "sub",
		"CRLF":      "\r\n",
		"arguments": "$0\r\n\r\n",
	} {
		for _, start := range []string{"", "*", "*7\r\n", "*7\r\n$", "*1\r\n$4000\r\n", "*2\r\n$4000\r\n"} {
			in := []byte(start + strings.Repeat(pattern, MaxCommand))[:MaxCommand]
			_, n, err := ParseCommand(in)
			if n == 0 && err == nil {
				t.Errorf("%q, then %s: %d bytes and still no answer", start, name, MaxCommand)
			}
		}
	}
}

func TestParseCommandPartAllocatesNothing(t *testing.T) {
	in := []byte(command("sub", "k1", "30", "token", "1.0"))
	if n := testing.AllocsPerRun(100, func() { ParseCommand(in[:len(in)-1]) }); n != 0 {
		t.Errorf("an incomplete command allocates %g times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { ParseCommand(in) }); n > 1 {
		t.Errorf("a command allocates %g times, want at most 1", n)
	}
}

// TestArgumentsAreApart appends to one argument, which must not reach the next.
func TestArgumentsAreApart(t *testing.T) {
	args, _, err := ParseCommand([]byte(command("sub", "k1")))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(args[0], "overwritten"...)
	if string(args[1]) != "k1" {
		t.Errorf("args[1] = %q, want k1", args[1])
	}
}

// FuzzParseCommand holds the parser to what every caller builds on, and to the
// same answer however the input was cut in two on its way.
func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(command("sub", "k1", "30")), 7)
	f.Add([]byte(command("sub", "k1", "30", "", "1.0", "0", "0")+"h"), 20)
	f.Add([]byte("*1\r\n$-1\r\n\n"), 5) // a length below zero must not index the slice
	f.Add([]byte("*3\r\n$99999999999999999999\r\n"), 9)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		args, n, err := ParseCommand(in)
		switch {
		case err != nil:
			if !errors.Is(err, ErrProtocol) || n != 0 || args != nil {
				t.Fatalf("ParseCommand(%q) = %q, %d, %v: an unknown error, or one with a result", in, args, n, err)
			}
		case n == 0:
			if len(in) >= MaxCommand {
				t.Fatalf("ParseCommand wants more than %d bytes: %q", len(in), in)
			}
		default:
			if n > min(len(in), MaxCommand) || len(args) < 1 || len(args) > MaxArgs {
				t.Fatalf("ParseCommand(%q) = %q, %d: outside its limits", in, args, n)
			}
		}
		if cut < 0 || cut > len(in) {
			return
		}
		firstArgs, m, firstErr := ParseCommand(in[:cut])
		switch {
		case firstErr != nil:
			if err == nil {
				t.Fatalf("%q is refused, and with %q behind it is not: %v", in[:cut], in[cut:], firstErr)
			}
		case m != 0:
			if m != n || !slices.EqualFunc(firstArgs, args, bytes.Equal) {
				t.Fatalf("%q gives %q, %d, and with %q behind it %q, %d", in[:cut], firstArgs, m, in[cut:], args, n)
			}
		case n != 0 && cut >= n:
			t.Fatalf("%q needs more, and all of it gives %d bytes", in[:cut], n)
		}
	})
}

func BenchmarkParseCommand(b *testing.B) {
	in := []byte(command("sub", "user-102947", "30", "0123456789abcdef", "1.0"))
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := ParseCommand(in); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
