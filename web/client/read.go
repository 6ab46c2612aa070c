package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Message is a stored message.
type Message struct {
	Msg json.RawMessage `json:"msg"` // what was pushed, without its white space
	Mid int64           `json:"mid"`
	Gid int             `json:"gid"` // 0: private
}

// Messages returns what is kept for key with a mid above after, oldest first.
// token is needed where web's auth is on; empty: none.
func (c *Client) Messages(ctx context.Context, key string, after int64, token string) ([]Message, error) {
	query := url.Values{"k": {key}, "m": {strconv.FormatInt(after, 10)}}
	if token != "" {
		query.Set("t", token)
	}
	var data struct {
		Msgs []Message `json:"msgs"`
	}
	err := c.ask(ctx, call{method: http.MethodGet, path: "/1/msg/get", query: query, data: &data})
	return data.Msgs, err
}

// TokenAdd lets key connect with token for expire, in whole seconds; 0 means 30
// days, renewed by use.
func (c *Client) TokenAdd(ctx context.Context, key, token string, expire time.Duration) error {
	query := url.Values{"k": {key}, "t": {token}}
	if expire != 0 {
		seconds, err := wholeSeconds(expire)
		if err != nil {
			return err
		}
		query.Set("e", seconds)
	}
	return c.manage(ctx, call{method: http.MethodGet, path: "/1/token/add", query: query})
}

// Node is one place in the ring.
type Node struct {
	Name     string    `json:"name"`
	Weight   int       `json:"weight"`
	Share    float64   `json:"share"`    // of all keys, 0..1
	Active   string    `json:"active"`   // the registered comet that serves it; empty: away
	Standbys int       `json:"standbys"` // comets that would take its place
	RPC      []string  `json:"rpc"`      // addresses of the active comet, or the last that were known
	TCP      []string  `json:"tcp"`
	WS       []string  `json:"ws"`
	Alive    bool      `json:"alive"` // it answered web's last ping
	Seen     time.Time `json:"seen"`  // when it last answered; zero: never
}

// SetWeight gives the comet of a node another weight, 1 to 100, until it is
// restarted. The ring follows in a moment.
func (c *Client) SetWeight(ctx context.Context, node string, weight int) error {
	query := url.Values{"node": {node}, "weight": {strconv.Itoa(weight)}}
	return c.manage(ctx, call{method: http.MethodPost, path: "/1/admin/node/weight", query: query})
}

// Drain makes the comet of a node leave the ring, send its clients elsewhere and
// end. It returns when the comet has begun with it.
func (c *Client) Drain(ctx context.Context, node string) error {
	return c.manage(ctx, call{method: http.MethodPost, path: "/1/admin/node/drain", query: url.Values{"node": {node}}})
}

// Nodes returns the ring as web knows it.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var data struct {
		Nodes []Node `json:"nodes"`
	}
	err := c.manage(ctx, call{method: http.MethodGet, path: "/1/admin/nodes", data: &data})
	return data.Nodes, err
}
