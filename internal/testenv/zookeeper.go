package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ZooKeeperServer is a real, standalone ZooKeeper with ticks of 500 ms: session
// timeouts are 1 to 10 s. Every four-letter word is allowed.
type ZooKeeperServer struct {
	*Process
	addr, data string
}

// ZooKeeper starts a ZooKeeper.
func ZooKeeper(t testing.TB) *ZooKeeperServer {
	t.Helper()
	skipShort(t, "a real ZooKeeper")
	java, err := exec.LookPath("java")
	if err != nil {
		t.Fatal("testenv: java is missing: apt-get install zookeeper")
	}
	jars := zooKeeperJars()
	if jars == "" {
		t.Fatal("testenv: the jars of ZooKeeper are missing: apt-get install zookeeper")
	}
	dir := t.TempDir()
	z := &ZooKeeperServer{addr: FreeAddr(t), data: filepath.Join(dir, "data")}
	if err := os.Mkdir(z.data, 0o700); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(z.addr)
	cfg := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf(`tickTime=500
dataDir=%s
clientPort=%s
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
`, z.data, port)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	z.Process = Command{
		Name: "zookeeper-" + port,
		Args: []string{java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // quick to start
			"-cp", jars, "org.apache.zookeeper.server.quorum.QuorumPeerMain", cfg},
		Dir:   dir,
		Ready: z.serving,
	}.Start(t)
	return z
}

// Addr returns host:port.
func (z *ZooKeeperServer) Addr() string { return z.addr }

// Wipe ends the server if it runs, deletes all its data and starts it: its
// clients then know of transactions that it has never seen.
func (z *ZooKeeperServer) Wipe() {
	z.t.Helper()
	wipe(z.Process, z.data)
}

// Save copies the server's data, which it may go on writing to, and returns what
// puts the copy in the place of the data: it ends the server if it runs, and
// starts it as it was when it was saved.
func (z *ZooKeeperServer) Save() (restore func()) {
	z.t.Helper()
	saved := filepath.Join(z.t.TempDir(), "data")
	if err := os.CopyFS(saved, os.DirFS(z.data)); err != nil {
		z.t.Fatal(err)
	}
	return func() {
		z.t.Helper()
		if z.Running() {
			z.Kill()
		}
		if err := os.RemoveAll(z.data); err != nil {
			z.t.Fatal(err)
		}
		if err := os.CopyFS(z.data, os.DirFS(saved)); err != nil {
			z.t.Fatal(err)
		}
		z.Start()
	}
}

// serving returns nil when the server takes requests. The port answers earlier.
func (z *ZooKeeperServer) serving() error {
	line, err := ask(z.addr, "srvr")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "Zookeeper version:") {
		return fmt.Errorf("answer to srvr: %q", line)
	}
	return nil
}

// zooKeeperJars returns the class path of Debian's ZooKeeper, "" if it is not
// installed.
func zooKeeperJars() string {
	const folder = "/usr/share/java"
	if _, err := os.Stat(filepath.Join(folder, "zookeeper.jar")); err != nil {
		return ""
	}
	var jars []string
	for _, pattern := range []string{"zookeeper*", "slf4j-*", "netty*", "metrics-*", "snappy*", "commons-*", "log*", "jackson*", "*audience*"} {
		found, _ := filepath.Glob(filepath.Join(folder, pattern+".jar")) // the patterns are well formed
		jars = append(jars, found...)
	}
	return strings.Join(jars, ":")
}
