package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	askTimeout = 30 * time.Second
	maxAnswer  = 64 << 10 // bytes
)

// Codes of web (docs/protocol.md, "Codes").
const (
	codeOK      = 0
	codeNoComet = 1001
	codeParam   = 65534
)

// web asks the webs. It belongs to one goroutine at a time.
type web struct {
	bases  []string // without a slash at the end
	client *http.Client
	good   int // index of the one that answered last
}

// newWeb returns a web and what ends it.
func newWeb(bases []string, client *http.Client) (w *web, done func()) {
	w = &web{client: client}
	for _, b := range bases {
		w.bases = append(w.bases, strings.TrimRight(b, "/"))
	}
	if client != nil {
		return w, func() {} // its owner's connections
	}
	t := &http.Transport{DialContext: new(net.Dialer).DialContext}
	w.client = &http.Client{Transport: t}
	return w, t.CloseIdleConnections
}

// locate returns host:port of the comet that key lives on.
func (w *web) locate(ctx context.Context, key string, t Transport) (string, error) {
	proto := "2"
	if t == WebSocket {
		proto = "1"
	}
	var data struct{ Server string }
	if err := w.get(ctx, "/1/server/get", url.Values{"k": {key}, "p": {proto}}, &data); err != nil {
		return "", err
	}
	if _, _, err := net.SplitHostPort(data.Server); err != nil {
		return "", fmt.Errorf("%w: /1/server/get names no host:port", ErrProtocol)
	}
	return data.Server, nil
}

// get asks one web after the other, until one answers or says that it is our
// fault.
func (w *web) get(ctx context.Context, path string, q url.Values, data any) error {
	var errs []error
	for range w.bases {
		err := w.ask(ctx, w.bases[w.good]+path, q, data)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", path, err)
		if errors.As(err, new(*final)) || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
		w.good = (w.good + 1) % len(w.bases)
	}
	return errors.Join(errs...)
}

// ask makes one request and decodes the data of its answer.
func (w *web) ask(ctx context.Context, address string, q url.Values, data any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+q.Encode(), nil)
	if err != nil {
		return withoutURL(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers HTTP status %d", req.URL.Host, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("%w: %s answers more than %d bytes", ErrProtocol, req.URL.Host, maxAnswer)
	}
	var answer struct {
		Ret  *int
		Data json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Ret == nil {
		return fmt.Errorf("%w: %s answers no JSON with a ret", ErrProtocol, req.URL.Host)
	}
	switch *answer.Ret {
	case codeOK:
	case codeNoComet:
		return ErrNoComet
	case codeParam:
		return &final{fmt.Errorf("%w: %s says so", ErrParam, req.URL.Host)}
	default:
		return fmt.Errorf("%s answers ret %d", req.URL.Host, *answer.Ret)
	}
	if len(answer.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		return fmt.Errorf("%w: %s answers other data than asked for", ErrProtocol, req.URL.Host)
	}
	return nil
}

// withoutURL takes the URL out of an error of net/http: it may hold the token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
