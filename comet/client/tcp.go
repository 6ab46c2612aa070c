package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"gopush-cluster/internal/wire"
)

// tcpLink is docs/protocol.md, "Comet over TCP".
type tcpLink struct {
	conn net.Conn
	r    *bufio.Reader
}

// openTCP sends the command, to resume after mid.
func openTCP(_ context.Context, nc net.Conn, _ string, o Options, mid int64) (link, error) {
	seconds := strconv.FormatInt(int64(o.Heartbeat/time.Second), 10)
	after := strconv.FormatInt(mid, 10)
	if _, err := nc.Write(wire.AppendCommand(nil, "sub", o.Key, seconds, o.Token, version, after)); err != nil {
		return nil, err
	}
	return &tcpLink{conn: nc, r: bufio.NewReader(nc)}, nil
}

func (l *tcpLink) next() (wire.Reply, []byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", nil, fmt.Errorf("%w: a line without end", ErrProtocol)
	case err == io.EOF && len(line) > 0:
		return "", nil, io.ErrUnexpectedEOF
	case err == io.EOF:
		return "", nil, ErrClosed
	case err != nil:
		return "", nil, err
	}
	if line[0] != '$' {
		return wire.Reply(line), nil, nil
	}
	length, err := strconv.ParseUint(string(bytes.TrimSuffix(line[1:], []byte("\r\n"))), 10, 31)
	if err != nil || length > maxBody {
		return "", nil, fmt.Errorf("%w: a message of length %.12q", ErrProtocol, line[1:])
	}
	// The buffer grows with what comes, not with what is announced.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, l.r, int64(length)+2); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return "", nil, err
	}
	b, whole := bytes.CutSuffix(body.Bytes(), []byte("\r\n"))
	if !whole {
		return "", nil, fmt.Errorf("%w: a message of another length than announced", ErrProtocol)
	}
	return "", b, nil
}

func (l *tcpLink) beat() error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := l.conn.Write([]byte{wire.Heartbeat})
	return err
}

func (l *tcpLink) close() { l.conn.Close() }
