package testenv

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const nginxText = `user www-data;
worker_processes 1;
error_log /var/log/nginx/error.log;
events { worker_connections 64; }
http {
    access_log /var/log/nginx/gopush.log;
    server { listen 127.0.0.1:8000; return 204; }
}
`

func TestNginx(t *testing.T) {
	addr := FreeAddr(t)
	n := Nginx(t, nginxText, map[string]string{"127.0.0.1:8000": addr})
	command(t, addr, "GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 204 No Content")
	Eventually(t, 5*time.Second, func() error { // written behind the answer
		if log := n.Log(); !strings.Contains(log, `"GET /a HTTP/1.0" 204`) {
			return fmt.Errorf("log %q, want the request", log)
		}
		return nil
	})
	before := n.workers()
	n.Reload()
	command(t, addr, "GET /b HTTP/1.0\r\n\r\n", "HTTP/1.1 204 No Content")
	if len(before) != 1 {
		t.Errorf("workers %v, want one", before)
	}
}

func TestNginxAddresses(t *testing.T) {
	for name, moved := range map[string]map[string]string{
		"one is not given": {},
		"one is not there": {"127.0.0.1:8000": "127.0.0.1:1", "127.0.0.1:8001": "127.0.0.1:2"},
	} {
		if text, err := moveNginx(nginxText, "/x", moved); err == nil {
			t.Errorf("%s: no error, and\n%s", name, text)
		}
	}
}
