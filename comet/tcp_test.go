package comet

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestTCPReplies(t *testing.T) {
	r := start(t, func(c *Config) { c.Channel.MaxSubscriber = 2 })
	for range 2 {
		conn := r.dial()
		io.WriteString(conn, sub("full", "30"))
		expect(t, conn, "+h\r\n")
	}
	tests := []struct{ name, send, want string }{
		{"unknown command", "*3\r\n$3\r\npub\r\n$1\r\nk\r\n$2\r\n30\r\n", "-p\r\n"},
		{"no key", sub(), "-p\r\n"},
		{"empty key", sub("", "30"), "-p\r\n"},
		{"heartbeat under 30", sub("k", "29"), "-p\r\n"},
		{"heartbeat no number", sub("k", "x"), "-p\r\n"},
		{"another comet's key", sub("foreign", "30"), "-n\r\n"},
		{"too many sockets of the key", sub("full", "30"), "-c\r\n"},
		{"reply is not lost behind unread bytes", sub("k", "29") + strings.Repeat("h", 1000), "-p\r\n"},
		{"protocol error: too many arguments", "*8\r\n", ""},
		{"protocol error: negative length", "*1\r\n$-1\r\n\n", ""},
		{"protocol error: not a command", "GET / HTTP/1.1\r\n\r\n", ""},
		{"protocol error: no end", strings.Repeat("*", 5000), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := r.dial()
			io.WriteString(conn, tt.send)
			expect(t, conn, tt.want)
			expectEnd(t, conn)
		})
	}
}

func TestTCPSession(t *testing.T) {
	r := start(t, nil)
	c := r.rpc()
	tests := []struct {
		name, key, send, want string // heartbeats behind the command are answered
		old                   bool
	}{
		{"with a version", "s1", sub("s1", "30", "", "1.0"), "+h\r\n", false},
		{"without a version", "s2", sub("s2", "30"), "+h\r\n", true},
		{"empty version", "s3", sub("s3", "30", "tok", ""), "+h\r\n", true},
		{"four arguments: the last is the token", "s4", sub("s4", "30", "1.0.4"), "+h\r\n", true},
		{"long heartbeat", "s5", sub("s5", "10000", "", "1.0"), "+h\r\n", false},
		{"heartbeats in the command's segment", "s6", sub("s6", "30", "", "1.0") + "hhh", "+h\r\n+h\r\n+h\r\n+h\r\n", false},
		{"with mids", "s7", sub("s7", "30", "", "1.0", "0", "0"), "+h\r\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := r.dial()
			io.WriteString(conn, tt.send)
			expect(t, conn, tt.want)
			io.WriteString(conn, "hh")
			expect(t, conn, "+h\r\n+h\r\n")
			var ret int
			args := struct {
				Key    string
				Msg    json.RawMessage
				Expire uint
			}{tt.key, json.RawMessage(`{ "test" : "<1>" }`), 600}
			if err := c.Call("CometRPC.PushPrivate", args, &ret); err != nil || ret != 0 {
				t.Fatalf("PushPrivate: %d, %v", ret, err)
			}
			m := r.msgs.keys[tt.key].last
			body := fmt.Sprintf(`{"msg":{"test":"\u003c1\u003e"},"mid":%d,"gid":0}`, m)
			if tt.old {
				body = fmt.Sprintf(`{"msg":"{\"test\":\"\\u003c1\\u003e\"}","mid":%d,"gid":0}`, m)
			}
			expect(t, conn, fmt.Sprintf("$%d\r\n%s\r\n", len(body), body))
			io.WriteString(conn, "x") // any other byte: close
			expectEnd(t, conn)
		})
	}
}

func TestCommandMayComeInPieces(t *testing.T) {
	r := start(t, nil)
	conn := r.dial()
	for _, b := range []byte(sub("pieces", "30", "", "1.0")) {
		conn.Write([]byte{b})
	}
	expect(t, conn, "+h\r\n")
	big := r.dial()
	io.WriteString(big, sub("pieces", "30", strings.Repeat("t", 3000), "1.0"))
	expect(t, big, "+h\r\n")
}
