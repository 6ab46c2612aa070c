package chaos

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// tcpLink speaks docs/protocol.md, "Comet over TCP".
type tcpLink struct {
	net.Conn
	in *bufio.Reader
}

// openTCP subscribes key on conn, after a mid unless it is noMid.
func openTCP(conn net.Conn, key string, old bool, after int64) (link, error) {
	args := []string{"sub", key, "30"}
	if !old {
		args = append(args, "", "1.0")
	}
	if after != noMid {
		args = append(args, strconv.FormatInt(after, 10))
	}
	l := &tcpLink{conn, bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, command(args...)); err != nil {
		return nil, err
	}
	switch line, err := l.in.ReadString('\n'); {
	case err != nil:
		return nil, err
	case line == "-n\r\n":
		return nil, errElsewhere
	case line != "+h\r\n":
		return nil, fmt.Errorf("sub is answered with %q", line)
	}
	return l, nil
}

func (l *tcpLink) read() (string, error) {
	for {
		if err := l.SetReadDeadline(time.Now().Add(beatPatience)); err != nil {
			return "", err
		}
		line, err := l.in.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case line == "+h\r\n":
			continue
		case line == "-n\r\n":
			return "", errGoAway
		}
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(line, "$"), "\r\n"))
		if err != nil || n < 0 || line != fmt.Sprintf("$%d\r\n", n) {
			return line, nil // nobody pushed that
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(l.in, body); err != nil {
			return "", err
		}
		return strings.TrimSuffix(string(body), "\r\n"), nil
	}
}

func (l *tcpLink) beat() error {
	if err := l.SetWriteDeadline(time.Now().Add(beatPatience)); err != nil {
		return err
	}
	_, err := io.WriteString(l.Conn, "h")
	return err
}
