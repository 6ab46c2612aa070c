package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestOpenTellsTheRealPort(t *testing.T) {
	ls, told, err := Listen{Bind: []string{"localhost:0", "127.0.0.1:0"}}.Open("rpc")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range ls {
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if want := []string{"localhost:", "127.0.0.1:"}[i] + port; told[i] != want {
			t.Errorf("told[%d] = %q, want %q", i, told[i], want)
		}
	}
	ls, told, err = Listen{Bind: []string{"127.0.0.1:0"}, Advertise: []string{"push.example.com:6970"}}.Open("rpc")
	if err != nil {
		t.Fatal(err)
	}
	ls[0].Close()
	if !slices.Equal(told, []string{"push.example.com:6970"}) {
		t.Errorf("told = %v, want what advertise says", told)
	}
}

func TestOpenThatFailsLeavesNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()
	ls, _, err := Listen{Bind: []string{first, taken.Addr().String()}}.Open("tcp")
	if err == nil || len(ls) != 0 || !strings.Contains(err.Error(), "tcp.bind = ") {
		t.Fatalf("Open on a taken port: %v, %v; want an error that names the key", ls, err)
	}
	again, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatalf("the first address is still open: %v", err)
	}
	again.Close()
}

// Whoever starts a daemon is told the key, the address once, and what to do.
func TestBindSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		addr, want string
		is         error
	}{
		{taken.Addr().String(), "address already in use; stop the program that has it (ss -ltnp shows which), or choose another port", syscall.EADDRINUSE},
		{"192.0.2.1:0", "cannot assign requested address: it is none of this machine's; choose one that is (ip addr shows them)", syscall.EADDRNOTAVAIL},
	} {
		_, err := Bind("tcp", []string{tt.addr})
		if want := fmt.Sprintf("tcp.bind = %q: %s", tt.addr, tt.want); !errors.Is(err, tt.is) || err.Error() != want {
			t.Errorf("Bind =\n%v\nwant\n%s", err, want)
		}
	}
}

func TestDiff(t *testing.T) {
	type table struct {
		Listen
		V int `toml:"v"`
	}
	type file struct {
		A table  `toml:"a"`
		S string `toml:"s"`
	}
	x := file{A: table{Listen{Bind: []string{"a:1"}}, 1}, S: "s"}
	y := x
	if d := Diff(x, y); d != nil {
		t.Errorf("Diff of equals = %v", d)
	}
	y.A.Advertise = []string{}
	if d := Diff(x, y); d != nil {
		t.Errorf("Diff of no list and an empty one = %v", d)
	}
	y.A.Bind = []string{"a:2"}
	y.A.V = 2
	if d := Diff(x, y); !slices.Equal(d, []string{"a.bind", "a.v"}) {
		t.Errorf("Diff = %v, want [a.bind a.v]", d)
	}
	if d := Restart(x, y, []string{"a.v"}); !slices.Equal(d, []string{"a.bind"}) {
		t.Errorf("Restart = %v, want what is not taken over", d)
	}
	if d := Restart(x, y, []string{"a."}); len(d) != 0 {
		t.Errorf("Restart = %v, want nothing: the whole table is taken over", d)
	}
	if d := Restart(x, y, []string{"a", "a.vv", "b."}); len(d) != 2 {
		t.Errorf("Restart = %v, want both: no name stands for a key that begins with it", d)
	}
}
