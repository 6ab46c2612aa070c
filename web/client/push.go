package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Option changes a push.
type Option func(http.Header)

// ID names a push, with 1 to 255 bytes, so that it can be repeated when it
// failed: it is stored once, however often it is sent within ten minutes, and as
// long as the message is kept. Another message for the same key under the same
// ID is ErrParam. With expire 0 it does nothing.
func ID(id string) Option { return func(h http.Header) { h.Set("Idempotency-Key", id) } }

// PushPrivate pushes message to key's sessions and keeps it for expire, which
// is in whole seconds; 0 keeps nothing and reaches only who is online. It
// returns nil when the message is stored.
func (c *Client) PushPrivate(ctx context.Context, key string, message json.RawMessage, expire time.Duration, options ...Option) error {
	seconds, err := wholeSeconds(expire)
	if err != nil {
		return err
	}
	return c.manage(ctx, call{
		method: http.MethodPost, path: "/1/admin/push/private",
		query: url.Values{"key": {key}, "expire": {seconds}}, header: header(options), body: message,
	})
}

// PushPrivates pushes message to many keys, 100,000 at most, and returns those
// that failed: all others have it stored. Keys must not hold commas, nor space
// at either end.
func (c *Client) PushPrivates(ctx context.Context, keys []string, message json.RawMessage, expire time.Duration, options ...Option) (failed []string, err error) {
	seconds, err := wholeSeconds(expire)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k == "" || strings.Contains(k, ",") || strings.TrimSpace(k) != k || !utf8.ValidString(k) {
			return nil, fmt.Errorf("client: key %q: many keys are sent in one JSON string, so none may be empty, hold a comma, begin or end with space, or be other than UTF-8; push to it alone", k)
		}
	}
	if !utf8.Valid(message) { // encoding/json would change it
		return nil, fmt.Errorf("client: message: %w: not UTF-8", ErrParam)
	}
	body, err := json.Marshal(map[string]string{"m": string(message), "k": strings.Join(keys, ",")})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var data struct {
		FK []string `json:"fk"`
	}
	err = c.manage(ctx, call{
		method: http.MethodPost, path: "/1/admin/push/mprivate",
		query: url.Values{"expire": {seconds}}, header: header(options), body: body, data: &data,
	})
	return data.FK, err
}

// DelMessages deletes what is kept for key.
func (c *Client) DelMessages(ctx context.Context, key string) error {
	return c.manage(ctx, call{method: http.MethodPost, path: "/1/admin/msg/del", query: url.Values{"key": {key}}})
}

func header(options []Option) http.Header {
	h := make(http.Header)
	for _, o := range options {
		o(h)
	}
	return h
}

// wholeSeconds refuses what would be cut to fewer: half a second would become
// "keep nothing".
func wholeSeconds(d time.Duration) (string, error) {
	if d < 0 || d%time.Second != 0 {
		return "", fmt.Errorf("client: expire %v: want whole seconds, 0 or more", d)
	}
	return strconv.FormatInt(int64(d/time.Second), 10), nil
}
