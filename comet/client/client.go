package client

import (
	"context"
	"errors"
	"time"

	"gopush-cluster/internal/backoff"
)

const (
	// version is what we tell the comet we are: a client that takes message
	// bodies in the new form.
	version = "1.0"

	minPause = 200 * time.Millisecond // between two tries, at first
	maxPause = 10 * time.Second       // between two tries, at most
)

// client is one subscription. It belongs to the goroutine of Subscribe; a
// session lends it to its own goroutines.
type client struct {
	Options // checked
	web     *web
	deliver func(Message) error

	// A message is new if its mid is larger than the counter of its gid.
	mid  int64 // of gid 0
	pmid int64 // of the others

	failed error // what deliver returned

	since time.Time // the comet accepted us; zero: it did not
}

// Subscribe stays connected to the comet of o.Key and calls deliver for each
// message: once, in the order of mids, one call at a time. What deliver does
// holds up the next message, but no heartbeat. Subscribe returns when ctx ends
// (its error), deliver returns an error (that one), or the subscription is
// refused for good (ErrParam, ErrAuth, ErrNoChannel).
func Subscribe(ctx context.Context, o Options, deliver func(Message) error) error {
	o, err := o.check()
	if err != nil {
		return err
	}
	web, done := newWeb(o.Web, o.HTTPClient)
	defer done()
	c := &client{Options: o, web: web, deliver: deliver, mid: o.Mid}
	pause := backoff.Backoff{Min: minPause, Max: maxPause}
	for {
		c.since = time.Time{}
		err := c.session(ctx)
		var f *final
		if errors.As(err, &f) {
			return f.err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.OnState(State{Err: err})
		// A comet that accepts and cuts at once is no success.
		if !c.since.IsZero() && time.Since(c.since) > maxPause {
			pause.Reset()
		}
		if err := pause.Wait(ctx); err != nil {
			return err
		}
	}
}
