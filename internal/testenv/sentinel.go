package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MasterName is by what name Sentinels know a master.
const MasterName = "mymaster"

// Sentinel is a real Redis Sentinel.
type Sentinel struct {
	*Process
	addr string
}

// Addr returns host:port.
func (s *Sentinel) Addr() string { return s.addr }

// Master returns host:port of the master that the sentinel knows.
func (s *Sentinel) Master() (string, error) {
	answer, err := askAll(s.addr, "SENTINEL GET-MASTER-ADDR-BY-NAME "+MasterName+"\r\n")
	f := strings.Split(answer, "\r\n") // *2 $n host $n port
	if err == nil && len(f) < 5 {
		err = fmt.Errorf("sentinel %s names no master: %q", s.addr, answer)
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(f[2], f[4]), nil
}

// Sentinels starts n sentinels that watch master, and returns when they know of
// each other and of its replicas, so that they can put one in its place. They
// take a server for dead that does not answer for two seconds.
func Sentinels(t testing.TB, master *RedisServer, n, replicas int) []*Sentinel {
	t.Helper()
	skipShort(t, "real sentinels")
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("testenv: redis-server is missing: apt-get install redis-server")
	}
	host, port, _ := net.SplitHostPort(master.Addr())
	var all []*Sentinel
	for range n {
		s := &Sentinel{addr: FreeAddr(t)}
		_, own, _ := net.SplitHostPort(s.addr)
		dir := t.TempDir()
		conf := filepath.Join(dir, "sentinel.conf") // which it rewrites
		text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor %s %s %s %d\n", own, dir, MasterName, host, port, n/2+1) +
			fmt.Sprintf("sentinel down-after-milliseconds %s 2000\nsentinel failover-timeout %[1]s 4000\n", MasterName)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Process = Command{
			Name: "sentinel-" + own, Args: []string{bin, conf, "--sentinel"}, Dir: dir,
			Ready: func() error { return pong(s.addr) },
		}.Start(t)
		all = append(all, s)
	}
	for _, s := range all {
		Eventually(t, 30*time.Second, func() error {
			about, err := askAll(s.addr, "SENTINEL MASTER "+MasterName+"\r\n")
			for _, want := range []string{fmt.Sprintf("num-other-sentinels\r\n$1\r\n%d\r", n-1), fmt.Sprintf("num-slaves\r\n$1\r\n%d\r", replicas)} {
				if err == nil && !strings.Contains(about, want) {
					err = fmt.Errorf("sentinel %s does not know all yet: want %q", s.addr, want)
				}
			}
			return err
		})
	}
	return all
}
