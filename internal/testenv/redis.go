package testenv

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// RedisServer is a real redis-server. It keeps every acknowledged write on
// disk, so Kill and Start lose nothing.
type RedisServer struct {
	*Process
	addr, data string
}

// Redis starts a redis-server. args are added to its command line, such as
// "--requirepass", "pw".
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	skipShort(t, "a real Redis")
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("testenv: redis-server is missing: apt-get install redis-server")
	}
	dir := t.TempDir()
	r := &RedisServer{addr: FreeAddr(t), data: filepath.Join(dir, "data")}
	if err := os.Mkdir(r.data, 0o700); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(r.addr)
	argv := append([]string{bin,
		"--bind", "127.0.0.1", "--port", port, "--dir", r.data,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--repl-diskless-sync-delay", "0"}, args...)
	r.Process = Command{Name: "redis-" + port, Args: argv, Dir: dir, Ready: r.ping}.Start(t)
	return r
}

// Replica starts a redis-server that replicates r. It returns before the two have
// met.
func (r *RedisServer) Replica(args ...string) *RedisServer {
	r.t.Helper()
	host, port, _ := net.SplitHostPort(r.addr)
	return Redis(r.t, append([]string{"--replicaof", host, port}, args...)...)
}

// Follows returns nil when the server is a replica that has all its master has.
func (r *RedisServer) Follows() error {
	about, err := askAll(r.addr, "INFO replication\r\n")
	for _, want := range []string{"role:slave", "master_link_status:up", "master_sync_in_progress:0"} {
		if err == nil && !strings.Contains(about, want+"\r") {
			err = fmt.Errorf("redis %s: want %s", r.addr, want)
		}
	}
	return err
}

// Addr returns host:port.
func (r *RedisServer) Addr() string { return r.addr }

// Wipe ends the server if it runs, deletes all its data and starts it.
func (r *RedisServer) Wipe() {
	r.t.Helper()
	wipe(r.Process, r.data)
}

// ping returns nil when the server has loaded its data and takes commands.
func (r *RedisServer) ping() error { return pong(r.addr) }

func pong(addr string) error {
	line, err := ask(addr, "PING\r\n")
	if err != nil {
		return err
	}
	// A server with a password answers so once it is up.
	if line == "+PONG" || strings.HasPrefix(line, "-NOAUTH") {
		return nil
	}
	return fmt.Errorf("answer to PING: %q", line)
}

// ask sends request over a new connection and returns the first line that comes
// back.
func ask(addr, request string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// askAll sends request over a new connection and returns all that comes back.
func askAll(addr, request string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

// wipe ends p if it runs, empties the folder data and starts p.
func wipe(p *Process, data string) {
	p.t.Helper()
	if p.Running() {
		p.Kill()
	}
	if err := os.RemoveAll(data); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.Start()
}
