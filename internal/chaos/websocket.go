package chaos

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// wsLink speaks docs/protocol.md, "Comet over WebSocket".
type wsLink struct{ *websocket.Conn }

// openWebSocket upgrades conn and subscribes key, after a mid unless it is noMid.
func openWebSocket(conn net.Conn, key string, old bool, after int64) (link, error) {
	q := url.Values{"key": {key}, "heartbeat": {"30"}}
	if !old {
		q.Set("ver", "1.0")
	}
	if after != noMid {
		q.Set("mid", strconv.FormatInt(after, 10))
	}
	u := &url.URL{Scheme: "ws", Host: conn.RemoteAddr().String(), Path: "/sub", RawQuery: q.Encode()}
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return conn, nil }}
	ws, res, err := d.Dial(u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	res.Body.Close()
	// The handshake has taken the connection's deadline off.
	if err := ws.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	switch _, text, err := ws.ReadMessage(); {
	case err != nil:
		return nil, err
	case string(text) == "-n\r\n":
		return nil, errElsewhere
	case string(text) != "+h\r\n":
		return nil, fmt.Errorf("sub is answered with %q", text)
	}
	return wsLink{ws}, nil
}

func (l wsLink) read() (string, error) {
	for {
		if err := l.SetReadDeadline(time.Now().Add(beatPatience)); err != nil {
			return "", err
		}
		kind, text, err := l.ReadMessage()
		var end *websocket.CloseError
		switch {
		case errors.As(err, &end) && end.Code == websocket.CloseServiceRestart:
			return "", errGoAway
		case err != nil:
			return "", err
		case kind != websocket.TextMessage:
			return fmt.Sprintf("frame of kind %d: %q", kind, text), nil // nobody pushed that
		case string(text) != "+h\r\n":
			return string(text), nil
		}
	}
}

func (l wsLink) beat() error {
	if err := l.SetWriteDeadline(time.Now().Add(beatPatience)); err != nil {
		return err
	}
	return l.WriteMessage(websocket.TextMessage, []byte("h"))
}
