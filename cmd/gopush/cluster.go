package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"gopush-cluster/internal/config"
	"gopush-cluster/web/client"
)

// client returns a client of web; the caller closes it.
func (a *app) client() (*client.Client, error) {
	o := client.Options{Web: a.web, Admin: a.admin}
	if a.secretFile != "" {
		secret, err := config.ReadSecret(a.secretFile)
		if err != nil {
			return nil, usagef("--secret-file: %w", err)
		}
		o.Secret = secret.Bytes()
	}
	c, err := client.New(o)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// ask makes one call within --timeout and explains what goes wrong.
func (a *app) ask(ctx context.Context, call func(context.Context, *client.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return a.within(ctx, func(ctx context.Context) error { return call(ctx, c) })
}

// within gives a call --timeout and explains what goes wrong.
func (a *app) within(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return a.explain(call(ctx))
}

// explain adds to an error of web what somebody at a terminal can do about it.
func (a *app) explain(err error) error {
	var op *net.OpError
	var answer *client.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{fmt.Errorf("no answer within %s: %w", plain(a.timeout), err), "Wait longer with --timeout."}
	case errors.As(err, &op) && op.Op == "dial":
		return &failure{err, unreachable}
	case errors.As(err, &answer) && answer.Status == http.StatusNotFound:
		return &failure{err, swapped}
	case errors.Is(err, client.ErrAccess):
		return &failure{err, "The secret goes into a file that is named with --secret-file."}
	case errors.Is(err, client.ErrNoComet):
		return &failure{err, "See who is registered: gopush nodes"}
	case errors.Is(err, client.ErrInternal):
		return &failure{err, "Try again; web's log says why."}
	}
	return err
}

const swapped = "Nothing of this name is there. Is --web the address of http.bind, and --admin that of admin.bind?"

const unreachable = "Is a cluster running? This starts one: gopush standalone\n" +
	"If it is elsewhere, say where with --web and --admin."
