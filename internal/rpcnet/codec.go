package rpcnet

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"reflect"
	"time"
)

// serverCodec is net/rpc's gob codec with bounded requests, a bounded number
// of them at a time, and deadlines on answers.
type serverCodec struct {
	conn net.Conn
	max  int64 // bytes of a request
	in   *frames
	dec  *gob.Decoder
	out  *bufio.Writer
	enc  *gob.Encoder
	// running holds one entry for each request that was begun and not
	// answered. net/rpc answers each request exactly once.
	running chan struct{}
}

func newServerCodec(conn net.Conn, r *bufio.Reader, maxRequest int64) *serverCodec {
	in := &frames{r: r}
	out := bufio.NewWriter(slowWriter{conn, writeTimeout})
	return &serverCodec{
		conn:    conn,
		max:     maxRequest,
		in:      in,
		dec:     gob.NewDecoder(in),
		out:     out,
		enc:     gob.NewEncoder(out),
		running: make(chan struct{}, inFlight),
	}
}

// ReadRequestHeader implements rpc.ServerCodec.
func (c *serverCodec) ReadRequestHeader(r *rpc.Request) error {
	c.running <- struct{}{}
	c.in.allow(c.max) // header, type descriptions and body together
	return guard(func() error { return c.dec.Decode(r) })
}

// ReadRequestBody implements rpc.ServerCodec. A nil body is skipped.
func (c *serverCodec) ReadRequestBody(body any) error {
	makeMaps(reflect.ValueOf(body))
	err := guard(func() error { return c.dec.Decode(body) })
	if errors.Is(err, errStream) { // net/rpc would read on
		c.conn.Close()
	}
	return err
}

// errStream means that what the peer sends is no gob at all.
var errStream = errors.New("the stream is broken")

// guard calls decode. encoding/gob promises errors and panics all the same, on
// some streams that no encoder writes: a peer could end this process by one.
func guard(decode func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errStream, p)
		}
	}()
	return decode()
}

// WriteResponse implements rpc.ServerCodec; net/rpc calls it for one response
// at a time. After an error the stream is out of step and the connection ends.
func (c *serverCodec) WriteResponse(r *rpc.Response, body any) error {
	<-c.running
	err := c.enc.Encode(r)
	if err == nil {
		err = c.enc.Encode(body)
	}
	if err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		c.conn.Close()
	}
	return err
}

// Close implements rpc.ServerCodec.
func (c *serverCodec) Close() error { return c.conn.Close() }

// slowWriter writes in pieces, each with a deadline of its own: a slow peer is
// waited for as long as it takes anything at all.
type slowWriter struct {
	conn    net.Conn
	timeout time.Duration
}

// Write implements io.Writer.
func (w slowWriter) Write(p []byte) (n int, err error) {
	const piece = 256 << 10
	for len(p) > 0 && err == nil {
		var m int
		w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
		m, err = w.conn.Write(p[:min(len(p), piece)])
		n, p = n+m, p[m:]
	}
	return n, err
}
