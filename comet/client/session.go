package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/wire"
)

// maxHeld bounds the live messages that wait for a fetch, in bytes.
const maxHeld = 32 << 20

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
	live := make(chan Message)
	missed := make(chan []Message, 1)
	g.Go(func() error { return receive(ctx, l, live) })
	g.Go(func() error { return beat(ctx, l, c.Heartbeat) })
	g.Go(func() error { return c.fetch(ctx, server, c.mid, missed) })
	g.Go(func() error { return c.deliverAll(ctx, live, missed) })
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

// receive reads what the comet sends until the connection ends.
func receive(ctx context.Context, l link, live chan<- Message) error {
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
		var m Message
		if err := json.Unmarshal(body, &m); err != nil || m.Msg == nil {
			return fmt.Errorf("%w: a message of %d bytes that is none", ErrProtocol, len(body))
		}
		select {
		case live <- m:
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

// fetch asks for what was missed after mid until it is told.
func (c *client) fetch(ctx context.Context, server string, mid int64, missed chan<- []Message) error {
	pause := backoff.Backoff{Min: minPause, Max: maxPause}
	for {
		msgs, err := c.web.missed(ctx, c.Key, c.Token, mid)
		if err == nil {
			missed <- msgs
			return nil
		}
		if errors.As(err, new(*final)) || ctx.Err() != nil {
			return err
		}
		c.OnState(State{Connected: true, Server: server, Err: err})
		if err := pause.Wait(ctx); err != nil {
			return err
		}
	}
}

// deliverAll hands over what was missed, then what comes.
func (c *client) deliverAll(ctx context.Context, live <-chan Message, missed <-chan []Message) error {
	var held []Message
	size := 0
	for fetched := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-live:
			if fetched {
				if err := c.handOver(m); err != nil {
					return err
				}
				continue
			}
			held = append(held, m)
			if size += len(m.Msg) + 64; size > maxHeld {
				return ErrHeld
			}
		case msgs := <-missed:
			fetched = true
			// By mid, and not the missed ones first: a live message that is not
			// stored may lie between two that are.
			msgs = append(msgs, held...)
			held = nil
			slices.SortStableFunc(msgs, func(a, b Message) int { return cmp.Compare(a.Mid, b.Mid) })
			for _, m := range msgs {
				if err := c.handOver(m); err != nil {
					return err
				}
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
