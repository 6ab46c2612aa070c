package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// MariaDBServer is a real MariaDB with an empty database, gopush. root needs no
// password there. It syncs every commit, so Kill and Start lose nothing.
type MariaDBServer struct {
	*Process
	addr, socket string
}

// mariaDBRedo is the size of the redo log, which a server that finds another one
// writes anew. The default is 96 MB for each server.
const mariaDBRedo = "--innodb-log-file-size=8M"

// emptyMariaDB is what a new server begins with.
func emptyMariaDB() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("gopush-mariadb-%d", os.Getpid()))
}

// installMariaDB makes it, once for the test binary: it takes some seconds.
var installMariaDB = sync.OnceValue(func() error {
	c := exec.Command("mariadb-install-db", append([]string{"--no-defaults", "--datadir=" + emptyMariaDB(),
		"--auth-root-authentication-method=normal", "--skip-test-db", mariaDBRedo}, asRoot()...)...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", c, err, out)
	}
	return nil
})

// RemoveMariaDB removes what MariaDB has made for all tests, if it was called.
func RemoveMariaDB() error { return os.RemoveAll(emptyMariaDB()) }

// asRoot is what the server wants to be told by root.
func asRoot() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"--user=root"}
}

// MariaDB starts a server. args are added to its command line, such as
// "--innodb-flush-log-at-trx-commit=2". The TestMain of the test binary calls
// RemoveMariaDB.
func MariaDB(t testing.TB, args ...string) *MariaDBServer {
	t.Helper()
	skipShort(t, "a real MariaDB")
	bin, err := exec.LookPath("mariadbd")
	if err != nil {
		t.Fatal("testenv: mariadbd is missing: apt-get install mariadb-server")
	}
	if err := installMariaDB(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	dir := t.TempDir()
	data, first := filepath.Join(dir, "data"), filepath.Join(dir, "first.sql")
	if err := os.CopyFS(data, os.DirFS(emptyMariaDB())); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, []byte("CREATE DATABASE IF NOT EXISTS gopush;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A socket's path must be short, and those of temporary folders are not.
	sockets, err := os.MkdirTemp("", "gopush")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	m := &MariaDBServer{addr: FreeAddr(t), socket: filepath.Join(sockets, "s")}
	_, port, _ := net.SplitHostPort(m.addr)
	argv := append([]string{bin, "--no-defaults", "--datadir=" + data, "--init-file=" + first,
		"--bind-address=127.0.0.1", "--port=" + port, "--socket=" + m.socket, "--skip-name-resolve",
		"--innodb-buffer-pool-size=32M", mariaDBRedo, "--innodb-flush-log-at-trx-commit=1"}, append(asRoot(), args...)...)
	m.Process = Command{Name: "mariadb-" + port, Args: argv, Dir: dir, Ready: m.greets}.Start(t)
	return m
}

// Addr returns host:port.
func (m *MariaDBServer) Addr() string { return m.addr }

// Socket returns the path of its unix socket.
func (m *MariaDBServer) Socket() string { return m.socket }

// greets returns nil when the server takes connections, which it does once it
// has recovered its data.
func (m *MariaDBServer) greets() error {
	conn, err := net.DialTimeout("tcp", m.addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	hello := make([]byte, 5) // length, sequence, protocol version
	if _, err := io.ReadFull(conn, hello); err != nil {
		return err
	}
	if hello[4] != 10 {
		return errors.New("no greeting of a database")
	}
	return nil
}
