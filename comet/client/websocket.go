package client

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"gopush-cluster/internal/wire"
)

// goodbye is how long the close frame may take.
const goodbye = time.Second

// wsLink is docs/protocol.md, "Comet over WebSocket".
type wsLink struct{ conn *websocket.Conn }

// openWebSocket asks for the upgrade, to resume after mid.
func openWebSocket(ctx context.Context, nc net.Conn, addr string, o Options, mid int64) (link, error) {
	q := url.Values{
		"key":       {o.Key},
		"heartbeat": {strconv.FormatInt(int64(o.Heartbeat/time.Second), 10)},
		"ver":       {version},
		"mid":       {strconv.FormatInt(mid, 10)},
	}
	if o.Token != "" {
		q.Set("token", o.Token)
	}
	u := url.URL{Scheme: "ws", Host: addr, Path: "/sub", RawQuery: q.Encode()}
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
	conn, resp, err := d.DialContext(ctx, u.String(), nil)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("%w: HTTP status %d", err, resp.StatusCode)
		}
		return nil, err
	}
	conn.SetReadLimit(maxBody)
	return &wsLink{conn}, nil
}

func (l *wsLink) next() (wire.Reply, []byte, error) {
	// Pings and close frames are answered in here, beside any writer.
	kind, payload, err := l.conn.ReadMessage()
	switch {
	case err != nil:
		return "", nil, err
	case kind != websocket.TextMessage || len(payload) == 0:
		return "", nil, fmt.Errorf("%w: a frame that is no text", ErrProtocol)
	case payload[0] == '+' || payload[0] == '-':
		return wire.Reply(payload), nil, nil
	}
	return "", payload, nil
}

func (l *wsLink) beat() error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return l.conn.WriteMessage(websocket.TextMessage, []byte{wire.Heartbeat})
}

func (l *wsLink) close() {
	// Best effort: the connection is over either way.
	_ = l.conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(goodbye))
	l.conn.Close()
}
