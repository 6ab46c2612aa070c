package rpcnet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"net/rpc"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestServeLetsRunningCallsFinish(t *testing.T) {
	e := newEcho()
	addr, stop := serve(t, ServerOptions{Grace: time.Hour}, e)
	c := dialer(t, addr, ClientOptions{})
	result := make(chan error, 1)
	var reply EchoReply
	go func() { result <- c.Call(context.Background(), "Echo.Hold", EchoArgs{Text: "held"}, &reply) }()
	<-e.calls
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	// It accepts no more, and waits.
	for conn, err := net.Dial("tcp", addr); err == nil; conn, err = net.Dial("tcp", addr) {
		conn.Close()
	}
	select {
	case <-stopped:
		t.Fatal("Serve returned while a call was running")
	default:
	}
	close(e.hold)
	if err := <-result; err != nil || reply.Text != "held" {
		t.Errorf("the running call = %v, %+v; want held", err, reply)
	}
	<-stopped
}

func TestServeClosesWhatOutlivesTheGrace(t *testing.T) {
	e := newEcho()
	addr, stop := serve(t, ServerOptions{Grace: time.Millisecond}, e)
	c := dialer(t, addr, ClientOptions{})
	result := make(chan error, 1)
	go func() { result <- c.Call(context.Background(), "Echo.Hold", EchoArgs{}, new(EchoReply)) }()
	<-e.calls
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	if err := <-result; !errors.Is(err, ErrLost) {
		t.Errorf("the running call = %v, want ErrLost", err)
	}
	close(e.hold)
	<-stopped
}

func TestStrangerIsGivenUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Trust: NewTrust([]byte("s"), nil)})
		for _, sends := range []string{"", magic, magic + strings.Repeat("n", nonceSize)} {
			client, server := net.Pipe()
			start := time.Now()
			done := make(chan struct{})
			go func() {
				s.serve(t.Context(), t.Context(), server)
				close(done)
			}()
			if _, err := io.WriteString(client, sends); err != nil {
				t.Error(err)
			}
			go io.Copy(io.Discard, client)
			<-done
			if waited := time.Since(start); waited != handshakeTimeout {
				t.Errorf("a peer that sends %d bytes was given up on after %v, want %v", len(sends), waited, handshakeTimeout)
			}
			client.Close()
		}
	})
}

// starved fails to accept a few times, as without descriptors, then ends.
type starved struct {
	net.Listener
	left int
}

func (s *starved) Accept() (net.Conn, error) {
	if s.left--; s.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

func TestAcceptSurvivesErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{})
	if err := s.Register("Echo", newEcho()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, &starved{l, 3}) }()
	c := dialer(t, l.Addr().String(), ClientOptions{})
	if err := c.Call(within(t, time.Minute), "Echo.Say", EchoArgs{}, new(EchoReply)); err != nil {
		t.Errorf("Call = %v, want none", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

type unfit struct{}

func (unfit) Say(EchoArgs, *EchoReply) error { return nil }
func (unfit) Addr() string                   { return "" }

func TestRegisterRefusesWhatCannotBeCalled(t *testing.T) {
	err := NewServer(ServerOptions{}).Register("Echo", unfit{})
	if err == nil || !strings.Contains(err.Error(), "Echo.Addr") {
		t.Errorf("Register = %v, want an error that names Echo.Addr", err)
	}
}

// encode returns requests as a client sends them.
func encode(t testing.TB, values ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := gob.NewEncoder(&b)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// mapBomb is a call whose map claims 2^24 entries and has one.
func mapBomb(t testing.TB) []byte {
	t.Helper()
	call := encode(t, rpc.Request{ServiceMethod: "Echo.Say", Seq: 1}, EchoArgs{Tags: map[string]int{"a": 1}})
	// The last frame is the value: length (1 byte), type (2), field (1), then
	// the entry: count 1, "a", 2, end.
	entry := []byte{1, 1, 'a', 2, 0}
	if !bytes.HasSuffix(call, entry) {
		t.Fatalf("gob encodes the map another way: % x", call)
	}
	head := call[:len(call)-len(entry)]
	if body := int(head[len(head)-4]); body != 3+len(entry) {
		t.Fatalf("gob frames the value another way: % x", call)
	}
	head[len(head)-4] += 4 // the count grows from 1 byte to 5
	return append(append(head, 0xfc, 1, 0, 0, 0), entry[1:]...)
}

func TestBombsAllocateNothing(t *testing.T) {
	tests := []struct {
		name string
		sent []byte
	}{
		{"8 GiB announced", []byte{0xfb, 1, 0xff, 0xff, 0xff, 0xff}},
		{"all of int64 announced", []byte{0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"a length of 9 bytes", []byte{0xf7, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"behind a good header", append(encode(t, rpc.Request{ServiceMethod: "Echo.Say", Seq: 1}), 0xfc, 0x40, 0, 0, 0)},
		{"a map of 2^24 entries", mapBomb(t)},
	}
	addr := start(t, ServerOptions{}, newEcho())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := conn.Write(tt.sent); err != nil {
				t.Fatal(err)
			}
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			io.Copy(io.Discard, conn) // until the server hangs up
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("%d bytes were allocated for %d bytes sent", grown, len(tt.sent))
			}
		})
	}
}

func TestFramesPassWhatIsWithinTheBudget(t *testing.T) {
	stream := encode(t, EchoArgs{Text: strings.Repeat("x", 300)}, EchoArgs{Text: "y"})
	for _, chunk := range []int{1, 3, 4096} {
		f := &frames{r: bufio.NewReader(chunks{bytes.NewReader(stream), chunk})}
		f.allow(int64(len(stream)))
		dec := gob.NewDecoder(f)
		for _, want := range []int{300, 1} {
			var got EchoArgs
			if err := dec.Decode(&got); err != nil || len(got.Text) != want {
				t.Errorf("in pieces of %d: %v and %d bytes, want %d", chunk, err, len(got.Text), want)
			}
		}
		if err := dec.Decode(new(EchoArgs)); err != io.EOF {
			t.Errorf("at the end: %v, want io.EOF", err)
		}
	}
	f := &frames{r: bufio.NewReader(bytes.NewReader(stream))}
	f.allow(100)
	if err := gob.NewDecoder(f).Decode(new(EchoArgs)); !errors.Is(err, errTooLarge) {
		t.Errorf("over the budget: %v, want %v", err, errTooLarge)
	}
}

// chunks reads a few bytes at a time.
type chunks struct {
	r io.Reader
	n int
}

func (c chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }

// recorded is a connection that holds what its peer sends, and then ends.
type recorded struct {
	net.Conn // nil: nothing else is used
	in       io.Reader
}

func (r recorded) Read(p []byte) (int, error)     { return r.in.Read(p) }
func (recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (recorded) Close() error                     { return nil }
func (recorded) SetDeadline(time.Time) error      { return nil }
func (recorded) SetReadDeadline(time.Time) error  { return nil }
func (recorded) SetWriteDeadline(time.Time) error { return nil }
func (recorded) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// FuzzServe gives the server whatever a peer may send, with and without a
// secret: it neither panics nor hangs.
func FuzzServe(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(encode(f, rpc.Request{ServiceMethod: "Echo.Say", Seq: 1}, EchoArgs{Text: "x", Tags: map[string]int{"a": 1}}), false)
	f.Add(encode(f, rpc.Request{ServiceMethod: "Echo.None", Seq: 1}, 7, rpc.Request{ServiceMethod: "Echo.Fail", Seq: 2}, EchoArgs{}), false)
	f.Add(mapBomb(f), false)
	f.Add([]byte{0xfb, 1, 0xff, 0xff, 0xff, 0xff}, false)
	f.Add([]byte(magic+strings.Repeat("n", nonceSize+32)), true)
	f.Fuzz(func(t *testing.T, sent []byte, secret bool) {
		opts := ServerOptions{MaxRequest: 64 << 10}
		if secret {
			opts.Trust = NewTrust([]byte("s"), nil)
		}
		s := NewServer(opts)
		e := newEcho()
		close(e.hold)
		if err := s.Register("Echo", e); err != nil {
			t.Fatal(err)
		}
		s.serve(t.Context(), t.Context(), recorded{in: bytes.NewReader(sent)})
	})
}

// FuzzAnswers gives a client whatever a server may answer.
func FuzzAnswers(f *testing.F) {
	f.Add(encode(f, rpc.Response{ServiceMethod: "Echo.Say", Seq: 1}, EchoReply{}))
	f.Add(encode(f, rpc.Response{ServiceMethod: "Echo.Say", Seq: 1, Error: "no"}, struct{}{}))
	f.Add(mapBomb(f))
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := newConn("peer", recorded{in: bytes.NewReader(sent)}, time.Second, 64<<10)
		if _, _, err := c.send("Echo.Say", EchoArgs{}, new(EchoReply)); err != nil {
			t.Fatal(err)
		}
		if err := c.run(func(error) {}); err == nil {
			t.Error("the stream is over, and nobody says so")
		}
	})
}

func TestRunningCallsOfAConnectionAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := encode(t, rpc.Request{ServiceMethod: "A.B", Seq: 1}, 0, rpc.Request{ServiceMethod: "A.B", Seq: 2}, 0)
		conn := recorded{in: bytes.NewReader(sent)}
		c := newServerCodec(conn, bufio.NewReader(conn), 4096)
		c.running = make(chan struct{}, 1)
		var first, second rpc.Request
		if err := c.ReadRequestHeader(&first); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadRequestBody(new(int)); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { read <- c.ReadRequestHeader(&second) }()
		synctest.Wait()
		if len(read) != 0 {
			t.Error("a second request was read while the only one allowed was running")
		}
		if err := c.WriteResponse(&rpc.Response{Seq: 1}, 0); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil || second.Seq != 2 {
			t.Errorf("the second request = %+v, %v; want it once the first was answered", second, err)
		}
	})
}
