package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"gopush-cluster/internal/wire"
)

// Message is one pushed message.
type Message struct {
	Msg json.RawMessage `json:"msg"` // the pushed JSON, canonical
	Mid int64           `json:"mid"` // rises strictly for a key and gid
	Gid int             `json:"gid"` // 0 private, otherwise public
}

// Gap says that stored messages are gone which this client did not get: newer
// ones pushed them out while it was away, or read too slowly.
type Gap struct {
	From   int64 `json:"from"`   // some of those above it are missing
	Oldest int64 `json:"oldest"` // the first that can still come; 0: none is left
}

// Transport is how a client is connected to its comet.
type Transport int

const (
	TCP Transport = iota
	WebSocket
)

func (t Transport) String() string {
	switch t {
	case TCP:
		return "tcp"
	case WebSocket:
		return "websocket"
	}
	return fmt.Sprintf("Transport(%d)", int(t))
}

// State is a change of the connection, for whoever watches.
type State struct {
	Connected bool
	Server    string // host:port of the comet, when connected
	Err       error  // why the connection was lost or not made
}

// Options say what to subscribe to. Web and Key are required.
type Options struct {
	Web       []string      // base URLs of webs, like http://localhost:8090; when one fails the next is asked
	Key       string        // 1..255 bytes
	Token     string        // where the comet asks for one
	Heartbeat time.Duration // whole seconds, at least 30 s; 0: 30 s. Longer saves radio, and notices a dead line later
	Transport Transport
	Mid       int64 // the largest private mid seen so far; 0: everything that is kept

	// OnState is told when the connection is made or lost; nil: nobody is. It is
	// not called from two goroutines at once, and what it does delays the rest.
	OnState func(State)
	// OnGap is told of messages that are lost to this client; nil: nobody is. It
	// is called like deliver, in its turn.
	OnGap func(Gap)
	// HTTPClient asks the webs; nil: one without proxy and cookies.
	HTTPClient *http.Client
	// Dial connects to the comet; nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// check returns o with its defaults, or an error that wraps ErrParam.
func (o Options) check() (Options, error) {
	if o.Heartbeat == 0 {
		o.Heartbeat = wire.MinHeartbeat
	}
	if o.OnState == nil {
		o.OnState = func(State) {}
	}
	if o.OnGap == nil {
		o.OnGap = func(Gap) {}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	switch {
	case o.Key == "" || len(o.Key) > wire.MaxKey:
		return o, fmt.Errorf("%w: a key of %d bytes, want 1..%d", ErrParam, len(o.Key), wire.MaxKey)
	case o.Heartbeat < wire.MinHeartbeat || o.Heartbeat%time.Second != 0:
		return o, fmt.Errorf("%w: a heartbeat of %v, want whole seconds, at least %v", ErrParam, o.Heartbeat, wire.MinHeartbeat)
	case o.Transport != TCP && o.Transport != WebSocket:
		return o, fmt.Errorf("%w: %v, want TCP or WebSocket", ErrParam, o.Transport)
	case o.Mid < 0:
		return o, fmt.Errorf("%w: a mid of %d, want 0 or more", ErrParam, o.Mid)
	case len(o.Web) == 0:
		return o, fmt.Errorf("%w: no web to ask, want a base URL like http://localhost:8090", ErrParam)
	}
	for _, base := range o.Web {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
			return o, fmt.Errorf("%w: the address of a web is not like http://localhost:8090", ErrParam)
		}
	}
	return o, nil
}
