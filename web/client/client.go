package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer is more than any answer holds: a store keeps some dozens of
// messages of a key, of a MiB each at most.
const maxAnswer = 256 << 20

// Options say where web is.
type Options struct {
	Web    string       // URL of the public port, like "http://localhost:8090"; needed by Messages
	Admin  string       // URL of the internal port, like "http://localhost:8091"; needed by all others
	Secret []byte       // what admin.secret_file holds; empty: none is sent
	HTTP   *http.Client // nil: one of its own, which follows no redirects
}

// Client calls one web. Its methods may be called concurrently.
type Client struct {
	web, admin string // without a slash at the end; empty: not given
	secret     string
	http       *http.Client
}

// New returns a client. It connects when it is first used.
func New(o Options) (*Client, error) {
	web, err := base("Web", o.Web)
	if err != nil {
		return nil, err
	}
	admin, err := base("Admin", o.Admin)
	if err != nil {
		return nil, err
	}
	c := &Client{web: web, admin: admin, secret: string(o.Secret), http: o.HTTP}
	if c.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64 // a back-end pushes from many goroutines
		c.http = &http.Client{
			Transport: transport,
			// Web redirects nobody, and what does must not get the secret.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c, nil
}

// base checks a URL. An empty one is not given.
func base(name, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf(`client: %s: want a URL like "http://localhost:8091"`, name)
	}
	return strings.TrimSuffix(s, "/"), nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request to web.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	data         any // a pointer that the answer's data goes to; nil: there is none
}

// ask makes a call to the public port.
func (c *Client) ask(ctx context.Context, a call) error {
	if c.web == "" {
		return errors.New("client: Options.Web is needed for this")
	}
	return c.do(ctx, c.web, "", a)
}

// manage makes a call to the internal port, with the secret.
func (c *Client) manage(ctx context.Context, a call) error {
	if c.admin == "" {
		return errors.New("client: Options.Admin is needed for this")
	}
	return c.do(ctx, c.admin, c.secret, a)
}

func (c *Client) do(ctx context.Context, base, secret string, a call) error {
	req, err := http.NewRequestWithContext(ctx, a.method, base+a.path+"?"+a.query.Encode(), bytes.NewReader(a.body))
	if err != nil {
		return fmt.Errorf("client: %s: %w", a.path, err)
	}
	if a.header != nil {
		req.Header = a.header
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the URL, which may hold a token
		}
		return fmt.Errorf("client: %s: %w", a.path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("client: %s: the answer broke off: %w", a.path, err)
	}
	if res.StatusCode != http.StatusOK {
		return &Error{Path: a.path, Status: res.StatusCode, Text: firstLine(text)}
	}
	var answer struct {
		Ret  *int            `json:"ret"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Ret == nil {
		return fmt.Errorf("client: %s: this is no answer of web's", a.path)
	}
	if *answer.Ret != 0 {
		return &Error{Path: a.path, Status: res.StatusCode, Ret: *answer.Ret, Text: firstLine([]byte(res.Header.Get("X-Gopush-Error")))}
	}
	if a.data == nil || len(answer.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer.Data, a.data); err != nil {
		return fmt.Errorf("client: %s: data: %w", a.path, err)
	}
	return nil
}

// firstLine returns what a refusal says, cut to a sentence's length.
func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return line[:min(len(line), 200)]
}
