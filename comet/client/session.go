package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/wire"
)

// session is the life of one connection. It returns why it ended, after its
// last goroutine has.
func (c *client) session(ctx context.Context) error {
	server, err := c.web.locate(ctx, c.Key, c.Transport)
	if err != nil {
		return err
	}
	l, err := c.connect(ctx, server)
	if err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	c.since = time.Now()
	c.OnState(State{Connected: true, Server: server})

	g, ctx := errgroup.WithContext(ctx)
	live := make(chan event)
	g.Go(func() error { return receive(ctx, l, live) })
	g.Go(func() error { return beat(ctx, l, c.Heartbeat) })
	g.Go(func() error { return c.handAll(ctx, live) })
	g.Go(func() error {
		<-ctx.Done()
		l.close() // ends receive
		return nil
	})
	err = g.Wait()
	// The connection may have been lost first, while deliver was at work.
	if c.failed != nil {
		return &final{c.failed}
	}
	return fmt.Errorf("%s: %w", server, err)
}

// event is what a comet sends: a message, or word that some are gone.
type event struct {
	Message
	Gap *Gap
}

// receive reads what the comet sends until the connection ends.
func receive(ctx context.Context, l link, live chan<- event) error {
	for {
		reply, body, err := l.next()
		if err != nil {
			return err
		}
		if body == nil {
			if reply != wire.Accepted { // the answer to a heartbeat
				return refusal(reply)
			}
			continue
		}
		var e event
		if err := json.Unmarshal(body, &e); err != nil || (e.Msg == nil) == (e.Gap == nil) {
			return fmt.Errorf("%w: a message of %d bytes that is none", ErrProtocol, len(body))
		}
		select {
		case live <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// beat sends heartbeats.
func beat(ctx context.Context, l link, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			if err := l.beat(); err != nil {
				return err
			}
		}
	}
}

// handAll hands over what comes.
func (c *client) handAll(ctx context.Context, live <-chan event) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-live:
			if e.Gap != nil {
				c.OnGap(*e.Gap)
				continue
			}
			if err := c.handOver(e.Message); err != nil {
				return err
			}
		}
	}
}

// handOver delivers m if it is new.
func (c *client) handOver(m Message) error {
	counter := &c.mid
	if m.Gid != 0 {
		counter = &c.pmid
	}
	if m.Mid <= *counter {
		return nil
	}
	if err := c.deliver(m); err != nil {
		c.failed = err
		return err
	}
	*counter = m.Mid
	return nil
}
