package registry

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketHoldsBackReadingUntilWatchesAreAskedFor(t *testing.T) {
	packet := func(op uint32) []byte {
		b := make([]byte, 16)
		binary.BigEndian.PutUint32(b, 12)
		binary.BigEndian.PutUint32(b[8:], op)
		return b
	}
	tests := []struct {
		name    string
		again   bool // a connection after the first one
		written []uint32
		want    time.Duration
	}{
		{"first connection", false, nil, 0},
		{"watches are asked for", true, []uint32{11, opSetWatches, opSetWatches}, 10 * time.Millisecond},
		{"there are none", true, []uint32{11}, watchesTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				go io.Copy(io.Discard, server)
				s := &socket{Conn: client, timeout: time.Second}
				if tt.again {
					s.watches = make(chan struct{})
				}
				s.SetReadDeadline(time.Now().Add(time.Hour)) // by the request for a session
				s.SetReadDeadline(time.Time{})
				go func() {
					time.Sleep(10 * time.Millisecond)
					for _, op := range tt.written {
						s.Write(packet(op))
					}
				}()
				begun := time.Now()
				for range 2 { // by the receiving goroutine; only its first waits
					s.SetReadDeadline(time.Now().Add(time.Hour))
				}
				if d := time.Since(begun); d != tt.want {
					t.Errorf("held back for %v, want %v", d, tt.want)
				}
				synctest.Wait()
				time.Sleep(time.Second)
				client.Close()
			})
		})
	}
}
