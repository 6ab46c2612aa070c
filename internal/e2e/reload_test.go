package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"gopush-cluster/internal/testenv"
)

// TestReload proves what SIGHUP does: limits change, what needs a restart is
// named, and a bad file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	c := start(t, options{})
	d := c.comets[0]
	const key = "reload"
	first := c.subscribe(key)

	reload := func(s settings, want ...string) {
		t.Helper()
		seen := len(d.Output())
		d.configure(t, s)
		d.Signal(syscall.SIGHUP)
		testenv.Eventually(t, patience, func() error {
			said := d.Output()[seen:]
			for _, w := range want {
				if !strings.Contains(said, w) {
					return fmt.Errorf("the log lacks %q after SIGHUP:\n%s", w, said)
				}
			}
			return nil
		})
	}
	limit := func(n int) {
		t.Helper()
		testenv.Eventually(t, patience, func() error {
			var in []net.Conn
			defer func() {
				for _, conn := range in {
					conn.Close()
				}
			}()
			for i := 1; ; i++ { // the first client is there already
				conn, err := net.Dial("tcp", d.tcp)
				if err != nil {
					return err
				}
				in = append(in, conn)
				cl := &tcpClient{t: t, conn: conn}
				cl.send(command("sub", key, "30"))
				cl.deadline(patience)
				reply := make([]byte, 4)
				if _, err := conn.Read(reply); err != nil {
					return err
				}
				if string(reply) != "+h\r\n" {
					if i != n {
						return fmt.Errorf("socket %d got %q, want %d to be accepted", i+1, reply, n)
					}
					return nil
				}
				if i > n {
					return fmt.Errorf("socket %d was accepted, want %d", i+1, n)
				}
			}
		})
	}
	reload(settings{"channel.maxsubscriber": 3})
	limit(3)
	reload(settings{"channel.maxsubscriber": 5, "tcp.bind": []string{testenv.FreeAddr(t)}}, "tcp.bind", "restart")
	limit(5)
	reload(settings{"tcp.bind": []string{d.tcp}, "channel.maxsubscriber": 2, "channel.msgbuf": 0}, "channel.msgbuf")
	limit(5) // refused as a whole
	reload(settings{"channel.msgbuf": nil})
	limit(2)
	first.beat()

	for _, d := range []*daemon{c.webs[0], c.messages[0]} {
		d.Signal(syscall.SIGHUP)
	}
	c.mustPush(key, `1`)
	for _, d := range c.daemons() {
		if code := d.Stop(); code != 0 {
			t.Errorf("%s: exit code %d, want 0", d.kind, code)
		}
	}
}

// TestReloadRules proves that SIGHUP reads secrets and origins again.
func TestReloadRules(t *testing.T) {
	t.Parallel()
	file, old := secretFile(t, "admin")
	c := start(t, options{web: settings{"admin.secret_file": file}})
	push := func(secret string) int {
		t.Helper()
		return send(t, c.webs[0].admin, "POST", "/1/admin/push/private?key=a&expire=0", `1`, "Authorization: Bearer "+secret).status
	}
	if got := push(old); got != http.StatusOK {
		t.Fatalf("push: status %d", got)
	}
	fresh := secretMark + "-another-secret-0123456789"
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	c.webs[0].Signal(syscall.SIGHUP)
	testenv.Eventually(t, patience, func() error {
		if got := push(fresh); got != http.StatusOK {
			return fmt.Errorf("push with the new secret: status %d", got)
		}
		return nil
	})
	if got := push(old); got != http.StatusUnauthorized {
		t.Errorf("push with the old secret: status %d, want 401", got)
	}

	comet := c.comets[0]
	connect := func(origin string) int {
		t.Helper()
		cl, res := upgrade(t, comet.ws, "key=a&heartbeat=30", "Origin: "+origin)
		cl.close()
		return res.StatusCode
	}
	comet.configure(t, settings{"websocket.origins": []string{"https://app.example.com"}})
	comet.Signal(syscall.SIGHUP)
	testenv.Eventually(t, patience, func() error {
		if got := connect("https://example.com"); got != http.StatusForbidden {
			return fmt.Errorf("a foreign origin: status %d, want 403", got)
		}
		return nil
	})
	if got := connect("https://app.example.com"); got != http.StatusSwitchingProtocols {
		t.Errorf("a known origin: status %d, want 101", got)
	}
}
