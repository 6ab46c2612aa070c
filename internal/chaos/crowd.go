package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
)

// Crowd subscribes n sockets to keys and never reads from them. It returns them,
// as many as found their comet.
func Crowd(ctx context.Context, client *http.Client, webs []Web, keys []string, n int) []net.Conn {
	d := net.Dialer{
		Timeout: dialTimeout,
		// Little room: what comet sends waits at comet soon.
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }); e != nil {
				return e
			}
			return err
		},
	}
	var mu sync.Mutex
	var crowd []net.Conn
	var wg sync.WaitGroup
	room := make(chan struct{}, 32) // dialling at a time
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			key := keys[i%len(keys)]
			var a struct{ Data struct{ Server string } }
			web := webs[rand.IntN(len(webs))]
			if getJSON(ctx, client, web.HTTP, fmt.Sprintf("/1/server/get?k=%s&p=2", url.QueryEscape(key)), &a) != nil {
				return
			}
			conn, err := d.DialContext(ctx, "tcp", a.Data.Server)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			crowd = append(crowd, conn)
			_, _ = io.WriteString(conn, command("sub", key, "30", "", "1.0")) // it may be closed already
		})
	}
	wg.Wait()
	return crowd
}
