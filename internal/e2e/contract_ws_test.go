package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func testWSReplies(t *testing.T, c *cluster) {
	comet := c.comets[0]
	k := "key=" + c.keyOf(comet, "ws")
	tests := []struct{ name, query, want string }{
		{"accepted", k + "&heartbeat=30", "+h\r\n"},
		{"token and version", k + "&heartbeat=30&token=&ver=1.0", "+h\r\n"},
		{"mid and pmid", k + "&heartbeat=30&ver=1.0&mid=0&pmid=0", "+h\r\n"},
		{"unknown parameters", k + "&heartbeat=10000&_=1&format=json", "+h\r\n"},
		{"no key", "heartbeat=30", "-p\r\n"},
		{"empty key", "key=&heartbeat=30", "-p\r\n"},
		{"key too long", "key=" + strings.Repeat("k", 256) + "&heartbeat=30", "-p\r\n"},
		{"no heartbeat", k, "-p\r\n"},
		{"heartbeat below 30", k + "&heartbeat=29", "-p\r\n"},
		{"heartbeat not a number", k + "&heartbeat=x", "-p\r\n"},
		{"mid not a number", k + "&heartbeat=30&mid=x", "-p\r\n"},
		{"another comet's key", "key=" + url.QueryEscape(c.keyOf(c.comets[1], "ws")) + "&heartbeat=30", "-n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl := dialWS(t, comet.ws, tt.query)
			cl.want(tt.want)
			if tt.want == "+h\r\n" {
				cl.beat()
			} else {
				cl.wantClose()
			}
		})
	}
	t.Run("any origin is welcome by default", func(t *testing.T) {
		cl := dialWS(t, comet.ws, k+"&heartbeat=30", "Origin: https://example.com")
		cl.want("+h\r\n")
		cl.beat()
	})
	t.Run("no upgrade", func(t *testing.T) {
		r := get(t, comet.ws, "/sub?"+k+"&heartbeat=30")
		if r.status < 400 || r.status > 499 {
			t.Errorf("status %d, want one that blames the client", r.status)
		}
	})
	t.Run("another path", func(t *testing.T) {
		if r := get(t, comet.ws, "/nothing"); r.status != http.StatusNotFound {
			t.Errorf("status %d, want 404", r.status)
		}
	})
}

func testWSFrames(t *testing.T, c *cluster) {
	key := c.keyOf(c.comets[0], "frames")
	t.Run("heartbeat as text and as binary", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.send(opText, "h")
		cl.want("+h\r\n")
		cl.send(opBinary, "h")
		cl.want("+h\r\n")
	})
	t.Run("heartbeats in one segment", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.raw(strings.Repeat(clientFrame(0x80|opText, "h"), 5))
		for range 5 {
			cl.want("+h\r\n")
		}
	})
	t.Run("heartbeat cut in two", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		f := clientFrame(0x80|opText, "h")
		cl.raw(f[:3])
		cl.raw(f[3:])
		cl.want("+h\r\n")
	})
	t.Run("ping", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.send(opPing, "are you there")
		cl.wantFrame(opPong, "are you there")
		cl.send(opPing, "")
		cl.wantFrame(opPong, "")
		cl.beat()
	})
	t.Run("a pong that nobody asked for", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.send(opPong, "here")
		cl.beat()
	})
	t.Run("close", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.send(opClose, "\x03\xe8bye")
		if code := cl.wantClose(); code != 1000 {
			t.Errorf("close answered with %d, want 1000", code)
		}
	})
	t.Run("close without a code", func(t *testing.T) {
		cl := c.with(t).subscribeWS(key, "")
		cl.send(opClose, "")
		cl.wantClose()
	})
	ends := []struct {
		name, sent string
		code       int // 0: any
	}{
		{"another text", clientFrame(0x80|opText, "x"), 0},
		{"not UTF-8", clientFrame(0x80|opText, "\xff"), 0},
		{"not masked", "\x81\x01h", 1002},
		{"reserved bit", clientFrame(0xC0|opText, "h"), 1002},
		{"reserved opcode", clientFrame(0x83, "h"), 1002},
		{"continuation of nothing", clientFrame(0x80|opContinue, "h"), 1002},
		{"fragmented ping", clientFrame(opPing, "x"), 1002},
		{"long ping", clientFrame(0x80|opPing, strings.Repeat("x", 126)), 1002},
		{"a frame of 513 bytes", clientFrame(0x80|opText, strings.Repeat("h", 513)), 1009},
		{"a frame of 2^62 bytes", "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00mask", 1009},
	}
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			cl := c.with(t).subscribeWS(key, "")
			cl.raw(tt.sent)
			if code := cl.wantClose(); tt.code != 0 && code != tt.code {
				t.Errorf("closed with %d, want %d", code, tt.code)
			}
		})
	}
}
