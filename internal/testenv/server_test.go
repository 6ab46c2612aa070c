package testenv

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRedisKeepsDataOverKill(t *testing.T) {
	r := Redis(t)
	command(t, r.Addr(), "SET k v\r\n", "+OK")
	r.Kill()
	if _, err := ask(r.Addr(), "PING\r\n"); err == nil {
		t.Fatal("a killed Redis answers")
	}
	r.Start()
	command(t, r.Addr(), "EXISTS k\r\n", ":1")
	r.Wipe()
	command(t, r.Addr(), "EXISTS k\r\n", ":0")
}

func TestRedisPaused(t *testing.T) {
	r := Redis(t)
	r.Pause()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatalf("a paused Redis must still be connected to by the kernel: %v", err)
	}
	defer conn.Close()
	if _, err := ask(r.Addr(), "PING\r\n"); err == nil {
		t.Error("a paused Redis answers")
	}
	r.Resume()
	Eventually(t, 5*time.Second, r.ping)
}

func TestRedisArguments(t *testing.T) {
	r := Redis(t, "--requirepass", "pw")
	command(t, r.Addr(), "GET k\r\n", "-NOAUTH Authentication required.")
}

func TestZooKeeper(t *testing.T) {
	z := ZooKeeper(t)
	if got, err := ask(z.Addr(), "ruok"); !strings.HasPrefix(got, "imok") {
		t.Errorf("ruok = %q, %v, want imok", got, err)
	}
	z.Kill()
	if err := z.serving(); err == nil {
		t.Error("a killed ZooKeeper serves")
	}
	z.Start()
	z.Wipe()
	if err := z.serving(); err != nil {
		t.Errorf("after Wipe: %v", err)
	}
}

func TestMariaDBKeepsDataOverKill(t *testing.T) {
	m := MariaDB(t)
	query := func(sql string) string {
		t.Helper()
		out, err := exec.Command("mariadb", "--no-defaults", "--socket="+m.Socket(), "--user=root", "-N", "-e", sql, "gopush").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", sql, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	query("CREATE TABLE t (n INT) ENGINE=InnoDB; INSERT INTO t VALUES (7)")
	m.Kill()
	if err := m.greets(); err == nil {
		t.Fatal("a killed MariaDB answers")
	}
	m.Start()
	if got := query("SELECT n FROM t"); got != "7" {
		t.Errorf("after kill -9: %q, want 7", got)
	}
	m.Pause()
	if err := m.greets(); err == nil {
		t.Error("a paused MariaDB answers")
	}
	m.Resume()
	Eventually(t, 5*time.Second, m.greets)
}

func command(t *testing.T, addr, request, want string) {
	t.Helper()
	if got, err := ask(addr, request); got != want {
		t.Fatalf("%q = %q, %v, want %q", request, got, err, want)
	}
}
