package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Web is where a web daemon listens, host:port.
type Web struct {
	Name        string
	HTTP, Admin string
}

// getJSON gets target from addr and decodes the answer.
func getJSON(ctx context.Context, client *http.Client, addr, target string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+target, nil)
	if err != nil {
		return err
	}
	return do(client, req, into)
}

// do sends req and decodes the answer, which must be 200.
func do(client *http.Client, req *http.Request, into any) error {
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, raw)
	}
	return json.Unmarshal(raw, into)
}

// fetchFunc asks web for what key missed after mid.
type fetchFunc func(ctx context.Context, client *http.Client, web Web, key string, mid int64) (msgs []Message, ret int, err error)

// fetchNew asks /1/msg/get.
func fetchNew(ctx context.Context, client *http.Client, web Web, key string, mid int64) ([]Message, int, error) {
	var a struct {
		Data struct{ Msgs []json.RawMessage }
		Ret  int
	}
	err := getJSON(ctx, client, web.HTTP, fmt.Sprintf("/1/msg/get?k=%s&m=%d", url.QueryEscape(key), mid), &a)
	var msgs []Message
	for _, m := range a.Data.Msgs {
		msgs = append(msgs, parseBody(string(m), false))
	}
	return msgs, a.Ret, err
}

// fetchOld asks /msg/get, whose answer holds bodies of the old form as strings.
func fetchOld(ctx context.Context, client *http.Client, web Web, key string, mid int64) ([]Message, int, error) {
	var a struct {
		Data struct{ Msgs []string }
		Ret  int
	}
	err := getJSON(ctx, client, web.HTTP, fmt.Sprintf("/msg/get?key=%s&mid=%d&pmid=0", url.QueryEscape(key), mid), &a)
	var msgs []Message
	for _, m := range a.Data.Msgs {
		msgs = append(msgs, parseBody(m, true))
	}
	return msgs, a.Ret, err
}

// record makes one fetch, e, and writes it into the history; the answer goes
// there by took. Only an answer with ret 0 is no error.
func record(ctx context.Context, rec *Recorder, client *http.Client, web Web, e Event, fetch fetchFunc, took func(Event)) error {
	e.Kind, e.Fetch, e.Web = Ask, rec.Next(Ask), web.Name
	rec.Add(e)
	msgs, ret, err := fetch(ctx, client, web, e.Key, e.Mid)
	e.Kind, e.Ret, e.Msgs = Got, ret, msgs
	if err != nil {
		e.Ret, e.Msgs, e.Note = NoAnswer, nil, err.Error()
	}
	took(e)
	if e.Ret != 0 {
		return fmt.Errorf("fetch %d for %s: ret %d %s", e.Fetch, e.Key, e.Ret, e.Note)
	}
	return nil
}

// Fetch fetches all that is kept for key, for nobody's counter.
func Fetch(ctx context.Context, rec *Recorder, client *http.Client, web Web, key string) error {
	return record(ctx, rec, client, web, Event{Key: key}, fetchNew, rec.Add)
}
