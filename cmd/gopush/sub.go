package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"gopush-cluster/comet/client"
)

func newSub(a *app) *cobra.Command {
	s := &sub{app: a}
	c := &cobra.Command{
		Use:   "sub KEY",
		Short: "Subscribe to a key and print what arrives",
		Long: `sub connects like a client app: it asks web which comet has KEY, subscribes
there after the last message it has seen, and prints one message a line: first
what was missed, then what comes. When the connection is lost it comes back.
Where messages are not kept any more, it says so.

It remembers the last message it has printed for each cluster and key, so that
running it again shows exactly what came since. The first time it shows all that
is stored. Ctrl-C ends it.`,
		Example: `  gopush sub alice
  gopush sub alice -o json -n 1
  gopush sub alice --mid 0        # all that is stored`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			s.fromMid = c.Flags().Changed("mid")
			return s.run(c.Context(), args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&s.token, "token", "", "the key's token, where auth is on")
	f.BoolVar(&s.webSocket, "ws", false, "connect by WebSocket instead of TCP")
	f.Int64Var(&s.mid, "mid", 0, "show what came after this message id, instead of after the last one printed")
	f.BoolVar(&s.noState, "no-state", false, "neither read nor write what was printed last")
	f.IntVarP(&s.count, "count", "n", 0, "end after this many messages; 0: never")
	return c
}

type sub struct {
	app       *app
	token     string
	webSocket bool
	mid       int64
	fromMid   bool // --mid was given
	noState   bool
	count     int
}

var errEnough = errors.New("as many messages as were asked for")

func (s *sub) run(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if s.mid < 0 || s.count < 0 {
		return usagef("--mid and --count: want 0 or more")
	}
	dir := s.app.stateDir
	if s.noState {
		dir = ""
	}
	last, err := recall(dir, s.app.web, key)
	if err != nil {
		return err
	}
	after := last.Mid
	if s.fromMid {
		after = s.mid
	}
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	w := &watcher{app: s.app, key: key, give: give}
	w.patience = time.AfterFunc(s.app.timeout, w.giveUp)
	defer w.patience.Stop()
	o := client.Options{
		Web: []string{s.app.web}, Key: key, Token: s.token, Mid: after,
		Transport: client.TCP, OnState: w.changed, OnGap: w.missing,
	}
	if s.webSocket {
		o.Transport = client.WebSocket
	}
	printed := 0
	err = client.Subscribe(ctx, o, func(m client.Message) error {
		if err := s.print(m); err != nil {
			return err
		}
		if m.Gid == 0 && m.Mid > last.Mid {
			if err := last.keep(m.Mid); err != nil {
				return &failure{fmt.Errorf("the last message cannot be remembered: %w", err), "To do without, add --no-state."}
			}
		}
		if printed++; printed == s.count {
			return errEnough
		}
		return nil
	})
	return s.verdict(ctx, key, err)
}

func (s *sub) print(m client.Message) error {
	if s.app.output.json {
		return printJSON(s.app.out, m)
	}
	_, err := fmt.Fprintf(s.app.out, "%s\n", m.Msg)
	return err
}

// verdict turns what ended the subscription into what the command says.
func (s *sub) verdict(ctx context.Context, key string, err error) error {
	var f *failure
	switch {
	case errors.Is(err, errEnough):
		return nil
	case errors.As(context.Cause(ctx), &f): // the watcher gave up
		return f
	case errors.Is(err, context.Canceled): // Ctrl-C
		return nil
	case errors.Is(err, client.ErrAuth):
		return &failure{fmt.Errorf("%s has another token", key), "Give it with --token, or add one: gopush token add " + key + " TOKEN"}
	case errors.Is(err, client.ErrNoChannel):
		return &failure{fmt.Errorf("%s may not connect: it has no live token, or too many connections", key),
			"Add a token: gopush token add " + key + " TOKEN"}
	}
	return err
}

// watcher tells people how the connection is, and gives up when there has never
// been one: then something is wrong that somebody at the terminal can mend.
type watcher struct {
	app      *app
	key      string
	give     context.CancelCauseFunc
	patience *time.Timer // runs until the first connection

	connected bool // there has been one
}

// changed is called by the client, one call at a time.
func (w *watcher) changed(st client.State) {
	switch {
	case st.Connected:
		w.patience.Stop()
		w.connected = true
		w.say("%s is subscribed at %s; Ctrl-C ends", w.key, st.Server)
	case w.connected && errors.Is(st.Err, client.ErrWrongNode): // the comet stops, or the key has moved
		w.say("sent elsewhere: asking web again")
	case w.connected:
		w.say("connection lost, coming back: %v", st.Err)
	case errors.Is(st.Err, client.ErrWrongNode), errors.Is(st.Err, client.ErrNoComet):
		w.say("waiting: %v", st.Err) // a cluster that is just starting; patience ends it
	case errors.As(st.Err, new(*net.OpError)):
		w.give(&failure{st.Err, unreachable})
	default: // somebody answers, but no web or comet
		w.give(&failure{st.Err, swapped})
	}
}

// missing is called by the client where messages are lost to it.
func (w *watcher) missing(g client.Gap) {
	if g.Oldest == 0 {
		w.say("messages after %d are not kept any more: newer ones pushed them out", g.From)
		return
	}
	w.say("messages between %d and %d are not kept any more: newer ones pushed them out", g.From, g.Oldest)
}

// giveUp ends a wait for the first connection.
func (w *watcher) giveUp() {
	w.give(&failure{fmt.Errorf("%s could not be subscribed within %s", w.key, plain(w.app.timeout)),
		"See who is registered: gopush nodes\nTo wait longer: --timeout"})
}

func (w *watcher) say(format string, args ...any) {
	fmt.Fprintf(w.app.errOut, "gopush: "+format+"\n", args...)
}
