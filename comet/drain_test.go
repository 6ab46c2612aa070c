package comet

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Clients keep coming while the comet stops. Run must know of all of them.
func TestDrainWhileClientsCome(t *testing.T) {
	for range 30 {
		r := start(t, nil)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if c, err := net.DialTimeout("tcp", r.info.TCP[0], time.Second); err == nil {
						c.Close()
					}
					d := websocket.Dialer{HandshakeTimeout: time.Second}
					if c, _, err := d.Dial("ws://"+r.info.WS[0]+"/sub?key=w&heartbeat=30", nil); err == nil {
						c.Close()
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		r.stop()
		err := <-r.ended
		r.ended <- err
		n := r.stats.sessions[0].Load() + r.stats.sessions[1].Load()
		if n != 0 {
			t.Errorf("%d sessions after Run", n)
		}
		close(stop)
		wg.Wait()
	}
}
