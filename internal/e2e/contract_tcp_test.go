package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

func testTCPReplies(t *testing.T, c *cluster) {
	comet := c.comets[0]
	k := c.keyOf(comet, "replies")
	foreign := c.keyOf(c.comets[1], "replies")
	tests := []struct{ name, sent, want string }{
		{"accepted", command("sub", k, "30"), "+h\r\n"},
		{"empty token", fmt.Sprintf("*4\r\n$3\r\nsub\r\n$%d\r\n%s\r\n$2\r\n30\r\n$0\r\n\r\n", len(k), k), "+h\r\n"},
		{"version", command("sub", k, "30", "", "1.0"), "+h\r\n"},
		{"four arguments, the last one meant as a version", command("sub", k, "30", "1.0.4"), "+h\r\n"},
		{"mid", command("sub", k, "30", "", "1.0", "0"), "+h\r\n"},
		{"mid and pmid", command("sub", k, "30", "", "1.0", "13999084541846408", "0"), "+h\r\n"},
		{"heartbeat of three hours", command("sub", k, "10000"), "+h\r\n"},
		{"heartbeat past int32", command("sub", k, "9999999999"), "+h\r\n"},
		{"heartbeat below 30", command("sub", k, "29"), "-p\r\n"},
		{"heartbeat negative", command("sub", k, "-30"), "-p\r\n"},
		{"heartbeat not a number", command("sub", k, "soon"), "-p\r\n"},
		{"heartbeat empty", command("sub", k, ""), "-p\r\n"},
		{"heartbeat missing", command("sub", k), "-p\r\n"},
		{"key missing", command("sub"), "-p\r\n"},
		{"key empty", command("sub", "", "30"), "-p\r\n"},
		{"key too long", command("sub", strings.Repeat("k", 256), "30"), "-p\r\n"},
		{"unknown command", command("pub", k, "30"), "-p\r\n"},
		{"empty command", command("", k, "30"), "-p\r\n"},
		{"mid negative", command("sub", k, "30", "", "1.0", "-1"), "-p\r\n"},
		{"mid not a number", command("sub", k, "30", "", "1.0", "x"), "-p\r\n"},
		{"another comet's key", command("sub", foreign, "30"), "-n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl := dialTCP(t, comet.tcp)
			cl.send(tt.sent)
			cl.want(tt.want)
			if tt.want == "+h\r\n" {
				cl.beat()
			} else {
				cl.wantClosed(patience)
			}
		})
	}
	t.Run("a key of 255 bytes", func(t *testing.T) {
		c := c.with(t)
		c.subscribe(strings.Repeat("k", 255)).beat()
	})
	t.Run("length counts bytes", func(t *testing.T) {
		c := c.with(t)
		c.subscribe("schlüssel 推").beat()
	})
}

func testTCPClosed(t *testing.T, c *cluster) {
	tests := []struct{ name, sent string }{
		{"no arguments", "*0\r\n"},
		{"negative count", "*-1\r\n"},
		{"eight arguments", command("sub", "k", "30", "", "1.0", "0", "0", "x")},
		{"count not a number", "*x\r\n$3\r\nsub\r\n"},
		{"count past int64", "*99999999999999999999\r\n"},
		{"count missing", "*\r\n$3\r\nsub\r\n"},
		{"no star", "sub k 30\r\n"},
		{"heartbeat first", "h"},
		{"a request of HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"negative length", "*3\r\n$-1\r\n"},
		{"length not a number", "*3\r\n$x\r\nsub\r\n"},
		{"length over the limit", "*3\r\n$4097\r\n"},
		{"length past int64", "*3\r\n$99999999999999999999\r\n"},
		{"longer than its length", "*3\r\n$3\r\nsubs\r\n$1\r\nk\r\n$2\r\n30\r\n"},
		{"shorter than its length", "*3\r\n$4\r\nsub\r\n$1\r\nk\r\n$2\r\n30\r\n"},
		{"no dollar", "*3\r\n3\r\nsub\r\n"},
		{"line feeds alone", "*3\n$3\nsub\n$1\nk\n$2\n30\n"},
		{"a line without end", "*" + strings.Repeat("1", 8192)},
		{"a command without end", "*3\r\n$3\r\nsub\r\n$4000\r\n" + strings.Repeat("k", 4000) + "\r\n$4000\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl := dialTCP(t, c.comets[0].tcp)
			cl.send(tt.sent)
			cl.wantClosed(4 * time.Second) // before the deadline for a whole command
		})
	}
}

func testTCPHeartbeats(t *testing.T, c *cluster) {
	k := c.keyOf(c.comets[0], "beats")
	sub := command("sub", k, "30")
	t.Run("several in one segment", func(t *testing.T) {
		cl := c.with(t).subscribe(k)
		cl.send("hhhhh")
		cl.want(strings.Repeat("+h\r\n", 5))
		cl.wantSilence(200 * time.Millisecond)
	})
	t.Run("behind the command in one segment", func(t *testing.T) {
		cl := dialTCP(t, c.comets[0].tcp)
		cl.send(sub + "hh")
		cl.want("+h\r\n+h\r\n+h\r\n")
		cl.beat()
	})
	t.Run("the command byte by byte", func(t *testing.T) {
		cl := dialTCP(t, c.comets[0].tcp)
		for _, b := range []byte(sub) {
			cl.send(string(b))
			time.Sleep(time.Millisecond) // so that the bytes come apart
		}
		cl.want("+h\r\n")
		cl.beat()
	})
	for _, other := range []string{"x", "\r\n", "H", "\x00", sub} {
		t.Run(fmt.Sprintf("another byte %.4q", other), func(t *testing.T) {
			cl := c.with(t).subscribe(k)
			cl.send(other)
			cl.wantClosed(patience)
		})
	}
	t.Run("beats before another byte are answered", func(t *testing.T) {
		cl := c.with(t).subscribe(k)
		cl.send("hhx")
		cl.want("+h\r\n+h\r\n")
		cl.wantClosed(patience)
	})
	t.Run("interleaved with messages", func(t *testing.T) {
		c := c.with(t)
		cl := c.subscribe(k, "", "1.0")
		for i := range 20 {
			cl.beat()
			c.mustPush(k, fmt.Sprintf(`{"%s":%d}`, payloadMark, i))
			if want := fmt.Sprintf(`{"%s":%d}`, payloadMark, i); cl.message().msg != want {
				t.Fatalf("message %d is not %s", i, want)
			}
		}
	})
}

// testSubscriberLimit proves the 64 sockets a key may have.
func testSubscriberLimit(t *testing.T, c *cluster) {
	const key = "crowd"
	comet := c.owner(key)
	var in []*tcpClient
	for range 64 {
		in = append(in, c.subscribe(key))
	}
	late := dialTCP(t, comet.tcp)
	late.send(command("sub", key, "30"))
	late.want("-c\r\n")
	late.wantClosed(patience)
	ws := dialWS(t, comet.ws, "key="+key+"&heartbeat=30")
	ws.want("-c\r\n")
	ws.wantClose()
	for _, cl := range in {
		cl.beat()
	}
	c.subscribe("another " + key).beat() // other keys are not meant

	in[0].close()
	testenv.Eventually(t, patience, func() error {
		reply, err := knock(comet.tcp, key)
		if err == nil && reply != "+h\r\n" {
			err = fmt.Errorf("the place of a closed socket is not given away: %q", reply)
		}
		return err
	})
}

// testTCPDeadlines waits for the deadlines to pass, all at the same time.
func testTCPDeadlines(t *testing.T, c *cluster) {
	key := c.keyOf(c.comets[0], "deadline")
	tests := []struct {
		name, sent, want string
		least, most      time.Duration
	}{
		{"nothing sent", "", "", 4 * time.Second, 12 * time.Second},
		{"half a command", "*3\r\n$3\r\nsub\r\n", "", 4 * time.Second, 12 * time.Second},
		{"no heartbeat", command("sub", key, "30"), "+h\r\n", 34 * time.Second, 50 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cl := dialTCP(t, c.comets[0].tcp)
			cl.send(tt.sent)
			cl.want(tt.want)
			cl.wantSilence(tt.least)
			cl.wantClosed(tt.most - tt.least)
		})
	}
	t.Run("a heartbeat in time", func(t *testing.T) {
		t.Parallel()
		cl := dialTCP(t, c.comets[0].tcp)
		cl.send(command("sub", key, "30"))
		cl.want("+h\r\n")
		cl.wantSilence(25 * time.Second)
		cl.beat()
		cl.wantSilence(13 * time.Second) // past the first deadline
		cl.beat()
	})
}
