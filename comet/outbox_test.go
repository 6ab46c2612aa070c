package comet

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newOutbox returns an outbox on a fake socket, and the group of its goroutines.
func newOutbox(sock *fakeSocket, lim limits) (*outbox, *sync.WaitGroup, *counters) {
	var tasks sync.WaitGroup
	stats := &counters{}
	return &outbox{conn: sock, stats: stats, limits: func() limits { return lim }, tasks: &tasks}, &tasks, stats
}

var roomy = limits{queue: 128, bytes: 256 << 10, total: 1 << 30}

func TestOutboxKeepsOrderWhateverTheKernelTakes(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4, 5} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, seed))
			sock := newFakeSocket()
			sock.take = func(n int) int { return rnd.IntN(n + 1) }
			o, tasks, stats := newOutbox(sock, limits{queue: 1 << 20, bytes: 1 << 30, total: 1 << 30})
			var want bytes.Buffer
			for i := range 2000 {
				frame := fmt.Appendf(nil, "<%d %s>", i, bytes.Repeat([]byte("x"), rnd.IntN(50)))
				want.Write(frame)
				o.send(frame)
			}
			tasks.Wait()
			if !bytes.Equal(sock.written.Bytes(), want.Bytes()) {
				t.Error("what was written is not what was sent, in order")
			}
			if !sock.wdl.IsZero() {
				t.Error("a deadline of a write that is done stays")
			}
			if n := stats.queued.Load(); n != 0 {
				t.Errorf("%d bytes stay counted", n)
			}
		})
	}
}

func TestOutboxFramesOfManyGoroutinesStayWhole(t *testing.T) {
	sock := newFakeSocket()
	var n int
	sock.take = func(len int) int { n++; return len - n%3 } // under the socket's own lock
	o, tasks, _ := newOutbox(sock, limits{queue: 1 << 20, bytes: 1 << 30, total: 1 << 30})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				o.send(fmt.Appendf(nil, "%d:%06d\n", g, i))
			}
		})
	}
	wg.Wait()
	tasks.Wait()
	next := make([]int, 8)
	for line := range bytes.Lines(sock.written.Bytes()) {
		var g, i int
		if _, err := fmt.Sscanf(string(line), "%d:%06d\n", &g, &i); err != nil || len(line) != 9 {
			t.Fatalf("torn frame %q: %v", line, err)
		}
		if i != next[g] {
			t.Fatalf("goroutine %d: frame %d came where %d was due", g, i, next[g])
		}
		next[g]++
	}
	for g, n := range next {
		if n != 500 {
			t.Errorf("goroutine %d: %d frames of 500", g, n)
		}
	}
}

func TestOutboxThatIsFullEndsTheSession(t *testing.T) {
	tests := []struct {
		name  string
		lim   limits
		frame int
		fits  int
	}{
		{"messages", limits{queue: 5, bytes: 1 << 20, total: 1 << 30}, 10, 5},
		{"bytes", limits{queue: 100, bytes: 1000, total: 1 << 30}, 300, 3},
		{"one message larger than the bound fits", limits{queue: 100, bytes: 1000, total: 1 << 30}, 5000, 1},
		{"bytes of all sessions", limits{queue: 100, bytes: 1 << 20, total: 1000}, 300, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sock := newFakeSocket()
				sock.take = func(int) int { return 0 }
				sock.stalled = true
				o, tasks, stats := newOutbox(sock, tt.lim)
				for i := range tt.fits {
					o.send(make([]byte, tt.frame))
					if o.ended() {
						t.Fatalf("ended at frame %d of %d that fit", i+1, tt.fits)
					}
				}
				o.send(make([]byte, tt.frame))
				if !o.ended() || o.reason() != endQueueFull || !sock.isClosed() {
					t.Errorf("ended=%v reason=%v closed=%v, want queue_full", o.ended(), o.reason(), sock.isClosed())
				}
				tasks.Wait()
				if n := stats.queued.Load(); n != 0 {
					t.Errorf("%d bytes stay counted", n)
				}
			})
		})
	}
}

func TestOutboxOfAFastSessionIgnoresTheOthersTotal(t *testing.T) {
	sock := newFakeSocket()
	o, _, stats := newOutbox(sock, limits{queue: 5, bytes: 1000, total: 1000})
	stats.queued.Store(5000)
	o.send([]byte("hello"))
	if o.ended() || sock.written.String() != "hello" {
		t.Errorf("ended=%v written=%q", o.ended(), sock.written.String())
	}
}

func TestOutboxEndsAStalledSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sock := newFakeSocket()
		sock.take = func(int) int { return 0 }
		sock.stalled = true
		o, tasks, _ := newOutbox(sock, roomy)
		start := time.Now()
		o.send([]byte("hello"))
		tasks.Wait()
		if d := time.Since(start); o.reason() != endStalled || d != stallTime {
			t.Errorf("reason=%v after %v, want stalled after %v", o.reason(), d, stallTime)
		}
	})
}

func TestOutboxWriteErrorEndsTheSession(t *testing.T) {
	sock := newFakeSocket()
	sock.wrErr = errors.New("broken pipe")
	o, _, _ := newOutbox(sock, roomy)
	o.send([]byte("hello"))
	if o.reason() != endWriteError || !sock.isClosed() {
		t.Errorf("reason=%v closed=%v", o.reason(), sock.isClosed())
	}
	o.send([]byte("more")) // is dropped without a word
	o.end(endClient)       // the first reason counts
	if o.reason() != endWriteError {
		t.Errorf("reason=%v, want the first", o.reason())
	}
}

func TestOutboxFinishSendsTheLastFrameLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sock := newFakeSocket()
		sock.take = func(int) int { return 0 }
		o, tasks, _ := newOutbox(sock, roomy)
		o.send([]byte("1"))
		o.send([]byte("2"))
		o.finish(endDrain, []byte("bye"))
		o.send([]byte("3"))
		o.finish(endClient, []byte("again"))
		tasks.Wait()
		if got := sock.written.String(); got != "12bye" {
			t.Errorf("written %q, want 12bye", got)
		}
		if !sock.shut || o.reason() != endDrain {
			t.Errorf("shut=%v reason=%v", sock.shut, o.reason())
		}
		o.expectWithin(time.Hour) // the reader has heard something
		if want := time.Now().Add(lingerTime); !sock.rdl.Equal(want) {
			t.Errorf("reads end at %v, want %v", sock.rdl, want)
		}
	})
}

// hookedSocket lets a test carry out the writes that may wait.
type hookedSocket struct {
	*fakeSocket
	write func(b []byte) (int, error)
}

func (s hookedSocket) Write(b []byte) (int, error) { return s.write(b) }

func TestOutboxThatEndsUnderAWriteCountsRight(t *testing.T) {
	for _, taken := range []int{0, 2, 5} {
		t.Run(fmt.Sprint("at once ", taken), func(t *testing.T) {
			sock := newFakeSocket()
			o, tasks, stats := newOutbox(sock, roomy)
			sock.take = func(int) int { o.end(endClosed); return taken }
			o.send([]byte("hello"))
			tasks.Wait()
			if n := stats.queued.Load(); n != 0 {
				t.Errorf("%d bytes stay counted", n)
			}
		})
		t.Run(fmt.Sprint("waiting ", taken), func(t *testing.T) {
			sock := newFakeSocket()
			sock.take = func(int) int { return 0 }
			o, tasks, stats := newOutbox(sock, roomy)
			o.conn = hookedSocket{sock, func([]byte) (int, error) { o.end(endClosed); return taken, net.ErrClosed }}
			o.send([]byte("hello"))
			tasks.Wait()
			if n := stats.queued.Load(); n != 0 {
				t.Errorf("%d bytes stay counted", n)
			}
		})
	}
}

func TestOutboxBearsWithASocketThatMoves(t *testing.T) {
	sock := newFakeSocket()
	sock.take = func(int) int { return 0 }
	o, tasks, _ := newOutbox(sock, roomy)
	o.conn = hookedSocket{sock, func(b []byte) (int, error) {
		n, _ := sock.Write(b[:1])
		return n, os.ErrDeadlineExceeded // the rest in its time
	}}
	o.send([]byte("hello"))
	tasks.Wait()
	if o.ended() || sock.written.String() != "hello" {
		t.Errorf("ended=%v (%v) written=%q", o.ended(), o.reason(), sock.written.String())
	}
}

func BenchmarkOutboxDirect(b *testing.B) {
	sock := &countingSocket{fakeSocket: newFakeSocket()}
	o, _, _ := newOutbox(nil, roomy)
	o.conn = sock
	frame := make([]byte, 150)
	b.ReportAllocs()
	for b.Loop() {
		o.send(frame)
	}
}

// countingSocket takes everything and keeps nothing.
type countingSocket struct{ *fakeSocket }

func (countingSocket) TryWrite(b []byte) (int, error) { return len(b), nil }
