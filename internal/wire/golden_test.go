package wire

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

const (
	// Paragraphs of docs/protocol.md.
	sub   = "Command"
	reply = "Replies"
	line  = "Message"
	ws    = "Comet over WebSocket"
	body  = "Message body"
	gap   = "Resume"

	mid0 = 13999084541846408 // the contract's own example, as an old daemon made it
)

// golden is one row of the contract: what goes in, what comes out.
type golden struct {
	name      string // of the file in testdata
	paragraph string // a heading of docs/protocol.md
	row       string // what the row says
	in        string
	run       func(in string) string
}

func (g golden) render() string {
	return fmt.Sprintf("# docs/protocol.md, %q: %s\nin  %s\nout %s\n", g.paragraph, g.row, quote(g.in), g.run(g.in))
}

func TestGolden(t *testing.T) {
	var goldens []golden
	goldens = append(goldens, commandGoldens()...)
	goldens = append(goldens, queryGoldens()...)
	goldens = append(goldens, replyGoldens()...)
	goldens = append(goldens, bodyGoldens()...)
	goldens = append(goldens, gapGoldens()...)
	goldens = append(goldens, frameGoldens()...)

	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			path := filepath.Join("testdata", g.name+".golden")
			if known[path] {
				t.Fatalf("two rows are called %s", g.name)
			}
			known[path] = true
			if !strings.Contains(string(doc), "# "+g.paragraph+"\n") {
				t.Errorf("docs/protocol.md has no paragraph %q", g.paragraph)
			}
			got := g.render()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f] {
			t.Errorf("%s belongs to no row: remove it", f)
		}
	}
}

// commandGoldens are the rows about the sub command.
func commandGoldens() []golden {
	row := func(name, says, in string) golden { return golden{"tcp-" + name, sub, says, in, subscribe} }
	return []golden{
		row("sub", "key and heartbeat are required, the rest is not", command("sub", "k1", "30")),
		row("sub-token", "argument 3 is the token", command("sub", "k1", "30", "secret")),
		row("sub-token-empty", "an empty argument is legal: an empty token", command("sub", "k1", "30", "", "1.0")),
		row("sub-version", "argument 4 is the version", command("sub", "k1", "30", "secret", "1.0")),
		row("sub-version-empty", "an empty version is an old client", command("sub", "k1", "30", "secret", "")),
		row("sub-version-as-token", "a fourth argument is the token, whatever the client means by it", command("sub", "k1", "30", "1.0.4")),
		row("sub-mid", "argument 5 is the mid to resume after", command("sub", "k1", "30", "", "1.0", "0")),
		row("sub-pmid", "argument 6 is the public mid to resume after", command("sub", "k1", "30", "", "1.0", "13999084541846408", "80")),
		row("sub-pmid-only", "an empty mid is one that is not given", command("sub", "k1", "30", "", "1.0", "", "80")),
		row("sub-bytes", "lengths count bytes, not characters", command("sub", "用户-42", "30")),
		row("sub-heartbeat-behind", "bytes behind the command are heartbeats", command("sub", "k1", "30")+"hh"),
		row("heartbeat-large", "there is no upper bound on heartbeat", command("sub", "k1", "10000")),
		row("heartbeat-huge", "there is no upper bound on heartbeat: past int64", command("sub", "k1", "99999999999999999999")),
		row("heartbeat-short", "heartbeat under 30", command("sub", "k1", "29")),
		row("heartbeat-negative", "heartbeat under 30, far below zero", command("sub", "k1", "-99999999999999999999")),
		row("heartbeat-text", "heartbeat is an integer", command("sub", "k1", "30s")),
		row("heartbeat-missing", "heartbeat is required", command("sub", "k1")),
		row("key-missing", "the key is required", command("sub")),
		row("key-empty", "the key is not empty", command("sub", "", "30")),
		row("key-long", "the key has 255 bytes at most", command("sub", strings.Repeat("k", 256), "30")),
		row("mid-negative", "a mid is not negative", command("sub", "k1", "30", "", "1.0", "-1")),
		row("command-unknown", "unknown command", command("pub", "k1", "30")),
		row("count-zero", "n outside 1..7", "*0\r\n"),
		row("count-eight", "n outside 1..7", "*8\r\n"),
		row("count-negative", "n outside 1..7", "*-1\r\n"),
		row("length-negative", "a length that is negative", "*1\r\n$-1\r\n\r\n"),
		row("length-limit", "a length over the limit", "*1\r\n$4097\r\n"),
		row("length-short", "a length not followed by exactly that many bytes and CRLF: too few", "*1\r\n$3\r\nsubs\r\n"),
		row("length-long", "a length not followed by exactly that many bytes and CRLF: too many", "*2\r\n$5\r\nsub\r\n$2\r\nk1\r\n"),
		row("line-lf", "every line ends in CRLF", "*3\n$3\nsub\n"),
	}
}

// queryGoldens are the rows about GET /sub.
func queryGoldens() []golden {
	row := func(name, says, in string) golden { return golden{"ws-" + name, ws, says, in, subscribeQuery} }
	return []golden{
		row("sub", "key, heartbeat, token and ver", "key=K&heartbeat=30&token=T&ver=1.0"),
		row("sub-old", "no ver is an old client", "key=K&heartbeat=30"),
		row("sub-mid", "ours: mid and pmid", "key=K&heartbeat=30&ver=1.0&mid=13999084541846408&pmid=0"),
		row("sub-escaped", "a key is any bytes", "key=%E7%94%A8%E6%88%B7+1&heartbeat=30"),
		row("heartbeat-short", "errors are those of TCP: heartbeat under 30", "key=K&heartbeat=29"),
		row("heartbeat-missing", "errors are those of TCP: no heartbeat", "key=K"),
		row("key-missing", "errors are those of TCP: no key", "heartbeat=30"),
	}
}

// replyGoldens are the five replies, over both transports.
func replyGoldens() []golden {
	replies := []struct {
		name, says string
		bytes      Reply
	}{
		{"accepted", "accepted, and the answer to a heartbeat", Accepted},
		{"param", "a parameter is wrong or missing", BadParam},
		{"auth", "the token is not the key's", AuthFailed},
		{"channel", "channel not authorised, or too many sockets", NoChannel},
		{"node", "this key does not live on this comet", WrongNode},
	}
	var goldens []golden
	for _, r := range replies {
		goldens = append(goldens,
			golden{"tcp-reply-" + r.name, reply, r.says, string(r.bytes),
				func(in string) string { return quote(in) }},
			golden{"ws-reply-" + r.name, ws, "a text frame with the same bytes: " + r.says, string(r.bytes),
				func(in string) string { return quote(string(AppendText(nil, Reply(in)))) }})
	}
	return append(goldens, golden{"ws-reply-close", ws, "an error is told as a text frame, followed by a close frame", string(BadParam),
		func(in string) string {
			return quote(string(AppendClose(AppendText(nil, in), ClosePolicy, "")))
		}})
}

// bodyGoldens are the forms of a message. What goes in is canonical JSON.
func bodyGoldens() []golden {
	form := func(gid int, old bool) func(string) string {
		return func(in string) string { return string(NewBody([]byte(in), gid, old).AppendJSON(nil, mid0)) }
	}
	const escaped = `{"a":"\u003cb\u003e \u0026 \u2028\u2029","q":"\"\\\n","u":"用户"}`
	return []golden{
		{"body-version", body, "for a client that sent a version", `{"test":1}`, form(0, false)},
		{"body-old", body, "for an old client msg is a JSON string", `{"test":1}`, form(0, true)},
		{"body-escaped", body, "<, >, &, U+2028 and U+2029 are escaped as encoding/json does", escaped, form(0, false)},
		{"body-escaped-old", body, "escaped first and put into the string then", escaped, form(0, true)},
		{"body-string", body, "a message is any JSON value", `"hello"`, form(0, false)},
		{"body-string-old", body, "a message is any JSON value, in a string too", `"hello"`, form(0, true)},
		{"body-public", body, "gid 1 is public", `null`, form(1, false)},
		{"tcp-message", line, "a message: length of the body, body, on a line each", `{"test":1}`,
			func(in string) string { return quote(string(NewBody([]byte(in), 0, false).AppendTCP(nil, mid0))) }},
		{"tcp-message-bytes", line, "a message: the length counts bytes", `"用户"`,
			func(in string) string { return quote(string(NewBody([]byte(in), 0, false).AppendTCP(nil, mid0))) }},
		{"tcp-message-old", line, "a message to an old client", `{"test":1}`,
			func(in string) string { return quote(string(NewBody([]byte(in), 0, true).AppendTCP(nil, mid0))) }},
		{"ws-message", ws, "a message is a text frame holding the body, with no $ line", `{"test":1}`,
			func(in string) string { return quote(string(NewBody([]byte(in), 0, false).AppendWS(nil, mid0))) }},
		{"ws-message-126", ws, "a message is a text frame: 126 bytes and more", `"` + strings.Repeat("m", 100) + `"`,
			func(in string) string { return quote(string(NewBody([]byte(in), 0, false).AppendWS(nil, mid0))) }},
	}
}

// gapGoldens are the forms of the notice that messages are missing.
func gapGoldens() []golden {
	row := func(name, says string, g Gap, render func(Gap) []byte) golden {
		return golden{name, gap, says, fmt.Sprintf("from %d, oldest %d", g.From, g.Oldest), func(string) string { return quote(string(render(g))) }}
	}
	tcp := func(g Gap) []byte { return g.AppendTCP(nil) }
	return []golden{
		row("tcp-gap", "a gap, in the form of a message", Gap{mid0, mid0 + 72}, tcp),
		row("tcp-gap-all", "a gap with nothing behind it", Gap{From: mid0}, tcp),
		row("ws-gap", "a gap, as a text frame", Gap{mid0, mid0 + 72}, func(g Gap) []byte { return g.AppendWS(nil) }),
	}
}

// frameGoldens are the frames of a client and what is answered to them.
func frameGoldens() []golden {
	row := func(name, says string, frame []byte) golden {
		return golden{"ws-" + name, ws, says, string(frame), answer}
	}
	return []golden{
		row("heartbeat", "heartbeat: a text frame h", clientFrame(true, OpText, "h")),
		row("heartbeat-binary", "an h is accepted as text or binary", clientFrame(true, OpBinary, "h")),
		row("ping", "ping is answered as RFC 6455 says", clientFrame(true, OpPing, "ping")),
		row("pong", "pong is answered as RFC 6455 says: not at all", clientFrame(true, OpPong, "")),
		row("close", "close is answered as RFC 6455 says", clientFrame(true, OpClose, "\x03\xe8bye")),
		row("close-empty", "close is answered as RFC 6455 says: without a code", clientFrame(true, OpClose, "")),
		row("close-code", "close is answered as RFC 6455 says: an invalid code", clientFrame(true, OpClose, "\x03\xed")),
		row("frame-limit", "a frame over the limit", clientFrame(true, OpText, strings.Repeat("h", 513))[:8]),
		row("frame-unmasked", "a frame that breaks RFC 6455", []byte{0x81, 0x01, 'h'}),
	}
}

// subscribe does with the first bytes of a TCP client what comet does.
func subscribe(in string) string {
	args, n, err := ParseCommand([]byte(in))
	switch {
	case errors.Is(err, ErrProtocol):
		return "close without a reply"
	case err != nil:
		return "unknown error: " + err.Error()
	case n == 0:
		return "more"
	}
	s, err := ParseSub(args)
	return describe(s, err) + " behind=" + quote(in[n:])
}

// subscribeQuery is subscribe for the query of GET /sub.
func subscribeQuery(in string) string {
	q, err := url.ParseQuery(in)
	if err != nil {
		return err.Error()
	}
	return describe(SubFromQuery(q))
}

func describe(s Sub, err error) string {
	switch {
	case errors.Is(err, ErrParam):
		return quote(string(BadParam))
	case err != nil:
		return "unknown error: " + err.Error()
	}
	return fmt.Sprintf("key=%s heartbeat=%d token=%s version=%s old=%t mid=%d pmid=%d",
		quote(s.Key), int64(s.Heartbeat.Seconds()), quote(s.Token), quote(s.Version), s.Old(), s.Mid, s.Pmid)
}

// answer does with a client's frame what comet does.
func answer(in string) string {
	f, n, err := ParseFrame([]byte(in), 512)
	var fe *FrameError
	switch {
	case errors.As(err, &fe):
		return quote(string(AppendClose(nil, fe.Code, "")))
	case n == 0:
		return "more"
	}
	switch f.Op {
	case OpPing:
		return quote(string(AppendPong(nil, f.Payload)))
	case OpClose:
		code, _, err := ParseClose(f.Payload)
		if errors.As(err, &fe) {
			code = fe.Code
		}
		return quote(string(AppendClose(nil, code, "")))
	case OpText, OpBinary:
		if string(f.Payload) == string(Heartbeat) {
			return quote(string(AppendText(nil, Accepted)))
		}
	}
	return "nothing"
}

func command(args ...string) string { return string(AppendCommand(nil, args...)) }

// clientFrame renders a frame as a client does: masked.
func clientFrame(fin bool, op Opcode, payload string) []byte {
	b := appendHeader(nil, op, len(payload))
	if !fin {
		b[0] &^= finBit
	}
	b[1] |= maskBit
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func quote(s string) string { return strconv.Quote(s) }
