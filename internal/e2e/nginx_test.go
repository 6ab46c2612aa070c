package e2e

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// behind is a cluster of two webs and two comets that is reached through Nginx,
// with the file of conf/nginx. All clients of the cluster go through it: the
// addresses of its daemons are Nginx's, and the comets tell so.
type behind struct {
	*cluster
	nginx  *testenv.NginxServer
	conf   string            // the file
	moved  map[string]string // its addresses, and where they are here
	direct [2]string         // http.bind of the webs
}

// listening is where the file has Nginx listen: web, admin, WebSocket of the two
// comets, TCP of the two.
var listening = []string{
	"127.0.0.1:8000", "127.0.0.1:8001",
	"127.0.0.1:8101", "127.0.0.1:8102", "127.0.0.1:8201", "127.0.0.1:8202",
}

// startBehind starts such a cluster.
func startBehind(t testing.TB, o options) *behind {
	t.Helper()
	o.nodes, o.webs = []string{"node1", "node2"}, 2
	c := prepare(t, o)
	b := &behind{cluster: c, conf: nginxConf(t)}
	b.moved = map[string]string{
		"127.0.0.1:8090": c.webs[0].web,
		"127.0.0.1:8290": c.webs[1].web,
		"127.0.0.1:8091": c.webs[0].admin,
		"127.0.0.1:8291": c.webs[1].admin,
		"127.0.0.1:6968": c.comets[0].ws,
		"127.0.0.1:7168": c.comets[1].ws,
		"127.0.0.1:6969": c.comets[0].tcp,
		"127.0.0.1:7169": c.comets[1].tcp,
	}
	for _, addr := range listening {
		b.moved[addr] = testenv.FreeAddr(t)
	}
	b.nginx = testenv.Nginx(t, b.conf, b.moved)
	for i, d := range c.comets {
		d.ws, d.tcp = b.moved[listening[2+i]], b.moved[listening[4+i]]
		d.configure(t, settings{"websocket.advertise": []string{d.ws}, "tcp.advertise": []string{d.tcp}})
	}
	for i, d := range c.webs {
		b.direct[i] = d.web
		d.web, d.admin = b.moved[listening[0]], b.moved[listening[1]]
	}
	for _, d := range c.daemons() {
		d.Launch()
	}
	c.ready()
	t.Cleanup(func() {
		for _, mark := range []string{tokenMark, payloadMark, secretMark} {
			if log := b.nginx.Log(); strings.Contains(log, mark) {
				t.Errorf("nginx tells %s: %s", mark, log[strings.Index(log, mark)-200:])
			}
		}
	})
	return b
}

// nginxConf returns the file that operators start from.
func nginxConf(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../conf/nginx/gopush.conf")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// another starts one more Nginx before the same cluster, with ports of its own
// and with from replaced by to in its file. It returns where its web is.
func (b *behind) another(t testing.TB, from, to string) string {
	t.Helper()
	if strings.Count(b.conf, from) != 1 {
		t.Fatalf("conf/nginx/gopush.conf does not hold %q once", from)
	}
	moved := maps.Clone(b.moved)
	for _, addr := range listening {
		moved[addr] = testenv.FreeAddr(t)
	}
	testenv.Nginx(t, strings.Replace(b.conf, from, to, 1), moved)
	return moved[listening[0]]
}

// silenceKnob is how long the clients of TestBehindNginx are silent, at least.
// Past 10m every default of Nginx is over.
const silenceKnob = "GOPUSH_SILENCE"

// TestBehindNginx runs the contract through Nginx and then what Nginx adds.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	b := startBehind(t, options{message: settings{"redis.prefix": "", "storage.store": maxStore}})
	quiet := b.quiet()
	t.Run("at once", func(t *testing.T) {
		t.Run("a client that asks slowly", func(t *testing.T) {
			t.Parallel()
			sub := *b
			sub.cluster = b.cluster.with(t)
			testNginxSlowAsker(t, &sub)
		})
		for _, part := range []struct {
			name string
			run  func(*testing.T, *cluster)
		}{
			{"tcp replies", testTCPReplies},
			{"tcp closed without a reply", testTCPClosed},
			{"tcp heartbeats", testTCPHeartbeats},
			{"tcp subscriber limit", testSubscriberLimit},
			{"websocket replies", testWSReplies},
			{"websocket frames", testWSFrames},
			{"bodies", testBodies},
			{"resume", testResume},
			{"http public", testHTTPPublic},
			{"http old", testHTTPOld},
			{"http callbacks", testHTTPCallbacks},
			{"http admin", testHTTPAdmin},
			{"both comets", testWebsAgree},
		} {
			t.Run(part.name, func(t *testing.T) {
				t.Parallel()
				part.run(t, b.cluster.with(t))
			})
		}
	})
	for _, part := range []struct {
		name string
		run  func(*testing.T, *behind)
	}{
		{"answers are web's", testNginxAnswers},
		{"tokens", testNginxTokens},
		{"forwarded tokens", testNginxForwardedTokens},
		{"a client that reads slowly over HTTP", testNginxSlowReader},
		{"sessions that do not read", testNginxSlowSessions},
		{"reload", testNginxReload},
		{"killed webs", testNginxKilledWebs},
	} {
		t.Run(part.name, func(t *testing.T) {
			sub := *b
			sub.cluster = b.cluster.with(t)
			part.run(t, &sub)
		})
	}
	quiet(t)
}

// quiet connects clients with a heartbeat of hours by TCP and by WebSocket. The
// function it returns proves that they are still there after a long silence.
func (b *behind) quiet() func(*testing.T) {
	b.t.Helper()
	const key = "quiet"
	since := time.Now()
	tcp := dialTCP(b.t, b.owner(key).tcp)
	tcp.send(command("sub", key, "10000", tokenMark, "1.0"))
	tcp.want("+h\r\n")
	ws := dialWS(b.t, b.owner(key).ws, "key="+key+"&heartbeat=10000&ver=1.0&token="+tokenMark)
	ws.want("+h\r\n")
	return func(t *testing.T) {
		if least := os.Getenv(silenceKnob); least != "" {
			d, err := time.ParseDuration(least)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(d - time.Since(since)) // the point of it
		}
		t.Logf("silent for %v", time.Since(since).Round(time.Second))
		b.mustPush(key, `"`+payloadMark+`"`)
		if m := tcp.message(); m.msg != `"`+payloadMark+`"` {
			t.Errorf("tcp: live %v", m)
		}
		if m, err := parseMessage(ws.body()); err != nil || m.msg != `"`+payloadMark+`"` {
			t.Errorf("websocket: live %v, %v", m, err)
		}
		tcp.beat()
		ws.beat()
	}
}
