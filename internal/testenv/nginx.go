package testenv

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where Debian keeps what Nginx needs. A user's PATH often lacks sbin.
const (
	nginxProgram = "/usr/sbin/nginx"
	nginxStream  = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// NginxServer is a real nginx with a configuration of conf/nginx.
type NginxServer struct {
	*Process
	dir string
}

// Nginx starts an nginx with the configuration text, in which every address of
// 127.0.0.1 is replaced as moved says; each must be there, and no other. What
// is under /var/log/nginx is kept in a folder of its own.
func Nginx(t testing.TB, text string, moved map[string]string) *NginxServer {
	t.Helper()
	skipShort(t, "a real nginx")
	for file, name := range map[string]string{nginxProgram: "nginx", nginxStream: "libnginx-mod-stream"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("testenv: %s is missing: apt-get install %s", file, name)
		}
	}
	n := &NginxServer{dir: t.TempDir()}
	text, err := moveNginx(text, n.dir, moved)
	if err != nil {
		t.Fatalf("testenv: nginx: %v", err)
	}
	conf := filepath.Join(n.dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Process = Command{
		Name:  "nginx",
		Args:  []string{nginxProgram, "-p", n.dir, "-e", "stderr", "-c", conf, "-g", "daemon off; pid " + n.dir + "/pid;"},
		Dir:   n.dir,
		Ready: func() error { return listens(listeners(text)) },
	}.Start(t)
	return n
}

// Log returns all that nginx has written into its logs.
func (n *NginxServer) Log() string {
	n.t.Helper()
	var b strings.Builder
	for _, name := range []string{"gopush.log", "error.log"} {
		text, err := os.ReadFile(filepath.Join(n.dir, name))
		if err != nil {
			n.t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String() + n.Output()
}

// Reload lets nginx read its configuration again (SIGHUP) and waits until new
// workers run. Who is connected stays with the old ones.
func (n *NginxServer) Reload() {
	n.t.Helper()
	before := n.workers()
	n.Signal(syscall.SIGHUP)
	Eventually(n.t, readyTimeout, func() error {
		for _, pid := range n.workers() {
			if !slices.Contains(before, pid) {
				return nil
			}
		}
		return fmt.Errorf("nginx still has the workers %v", before)
	})
}

// workers returns the ids of nginx's children.
func (n *NginxServer) workers() []string {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", n.Pid(), n.Pid()))
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.Fields(string(b))
}

var (
	nginxAddr   = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	nginxListen = regexp.MustCompile(`listen +(127\.0\.0\.1:[0-9]+)`)
	nginxUser   = regexp.MustCompile(`(?m)^user .*\n`)
)

// moveNginx puts what is written for a machine of its own into dir, and its
// addresses where moved says. It runs as whoever runs the test.
func moveNginx(text, dir string, moved map[string]string) (string, error) {
	seen := make(map[string]bool)
	for _, addr := range nginxAddr.FindAllString(text, -1) {
		seen[addr] = true
		if moved[addr] == "" {
			return "", fmt.Errorf("nobody said where %s is to be", addr)
		}
	}
	if len(seen) != len(moved) {
		return "", fmt.Errorf("addresses %v, want those of %v", seen, moved)
	}
	text = nginxAddr.ReplaceAllStringFunc(text, func(addr string) string { return moved[addr] })
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	text = nginxUser.ReplaceAllString(text, user)
	text = strings.ReplaceAll(text, "/var/log/nginx", dir)
	temp := "http {\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("    %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return strings.Replace(text, "http {\n", temp, 1), nil
}

// listeners returns the addresses that a configuration listens on.
func listeners(text string) []string {
	var addrs []string
	for _, m := range nginxListen.FindAllStringSubmatch(text, -1) {
		addrs = append(addrs, m[1])
	}
	return addrs
}

// listens returns nil when all addresses accept connections.
func listens(addrs []string) error {
	for _, addr := range addrs {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}
