package comet

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// socket is a connection that can also be written to without blocking.
type socket interface {
	net.Conn
	// TryWrite writes what the kernel takes at once, 0 bytes included.
	TryWrite(b []byte) (int, error)
	CloseWrite() error
}

// tcpSocket is a TCP connection of a client.
type tcpSocket struct {
	*net.TCPConn
	raw syscall.RawConn
}

func newTCPSocket(c net.Conn) (tcpSocket, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return tcpSocket{}, fmt.Errorf("comet: %T is no TCP connection", c)
	}
	raw, err := tcp.SyscallConn()
	return tcpSocket{tcp, raw}, err
}

// TryWrite makes one write(2), which does not wait: Go's sockets are
// non-blocking.
func (s tcpSocket) TryWrite(b []byte) (n int, err error) {
	rawErr := s.raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), b)
			if !errors.Is(err, syscall.EINTR) {
				return true // do not wait for the socket to become writable
			}
		}
	})
	if rawErr != nil {
		return 0, rawErr
	}
	if errors.Is(err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}

// tune makes a socket of a client's connection and sets it up.
func (ch Channel) tune(nc net.Conn) (socket, error) {
	conn, err := newTCPSocket(nc)
	if err != nil {
		return nil, err
	}
	errs := []error{conn.SetKeepAlive(ch.TCP.Keepalive)}
	if n := ch.SndBuf.Size; n > 0 {
		errs = append(errs, conn.SetWriteBuffer(int(n)))
	}
	if n := ch.RcvBuf.Size; n > 0 {
		errs = append(errs, conn.SetReadBuffer(int(n)))
	}
	return conn, errors.Join(errs...)
}

// transport is how a client is connected.
type transport int

const (
	overTCP transport = iota
	overWebSocket
	transports // how many there are
)

var transportNames = [transports]string{"tcp", "websocket"}

func (t transport) String() string { return transportNames[t] }
