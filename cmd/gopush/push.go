package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopush-cluster/web/client"
)

func newPush(a *app) *cobra.Command {
	p := &push{app: a}
	c := &cobra.Command{
		Use:   "push KEY[,KEY...] MESSAGE...",
		Short: "Push messages to a key",
		Long: `push sends each MESSAGE, which is JSON, to KEY: to every socket that the key has
open, and, unless --expire is 0, into the store for those that come later. It
says "stored" only when the message is. Several keys are separated by commas;
"-" reads messages from standard input.

With --id a push may be repeated until it is sure that the message is stored: it
is stored once however often it comes within ten minutes, and as long as it is
kept. Another message under the same id is refused.`,
		Example: `  gopush push alice '{"hello":"world"}'
  gopush push --text alice 'hello world'
  gopush push alice,bob '"for both"'
  gopush push --id order-17 alice '"paid"'
  cat messages.jsonl | gopush push alice -`,
		Args: atLeast(2),
		RunE: func(c *cobra.Command, args []string) error {
			return p.run(c.Context(), strings.Split(args[0], ","), args[1:])
		},
	}
	c.Flags().BoolVar(&p.text, "text", false, "MESSAGE is text, not JSON: push it as a JSON string")
	c.Flags().DurationVar(&p.expire, "expire", 24*time.Hour, "how long to keep the message; 0 sends it only to who is online now")
	c.Flags().StringVar(&p.id, "id", "", "a name for the message, 1 to 255 bytes, so that it can be repeated")
	p.named = func() bool { return c.Flags().Changed("id") }
	return c
}

type push struct {
	app    *app
	text   bool
	id     string
	named  func() bool // --id was given
	expire time.Duration
}

// pushed is the answer of push -o json, one line for each message.
type pushed struct {
	Pushed []string `json:"pushed"`
	Failed []string `json:"failed,omitempty"` // not stored
}

func (p *push) run(ctx context.Context, keys, args []string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	if p.expire < 0 || p.expire%time.Second != 0 {
		return usagef("--expire = %s: want whole seconds, 0 or more", p.expire)
	}
	messages, err := readMessages(args, p.text, p.app.in)
	if err != nil {
		return err
	}
	if err := p.checkID(len(messages)); err != nil {
		return err
	}
	c, err := p.app.client()
	if err != nil {
		return err
	}
	defer c.Close()
	for i, m := range messages {
		if err := p.one(ctx, c, keys, m); err != nil {
			if len(messages) > 1 {
				err = fmt.Errorf("message %d of %d: %w", i+1, len(messages), err)
			}
			return err
		}
	}
	if p.app.output.json {
		return nil
	}
	_, err = fmt.Fprintln(p.app.out, p.summary(len(messages), keys))
	return err
}

// checkID refuses an id that would not do what it is given for.
func (p *push) checkID(messages int) error {
	switch {
	case !p.named():
		return nil
	case p.id == "" || len(p.id) > maxID:
		return usagef("--id: want 1 to %d bytes, got %d", maxID, len(p.id))
	case messages > 1:
		return usagef("--id names one message, and there are %d: push them one by one, each with an id of its own", messages)
	case p.expire == 0:
		return usagef("--id does nothing with --expire 0: what is not stored is not recognised")
	}
	return nil
}

const maxID = 255 // as web has it

// one pushes one message to all keys.
func (p *push) one(ctx context.Context, c *client.Client, keys []string, message json.RawMessage) error {
	var failed []string
	var options []client.Option
	if p.named() {
		options = append(options, client.ID(p.id))
	}
	err := p.app.within(ctx, func(ctx context.Context) (err error) {
		if len(keys) == 1 {
			return c.PushPrivate(ctx, keys[0], message, p.expire, options...)
		}
		failed, err = c.PushPrivates(ctx, keys, message, p.expire, options...)
		return err
	})
	if err != nil {
		return err
	}
	if p.app.output.json {
		done := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return slices.Contains(failed, k) })
		if err := printJSON(p.app.out, pushed{Pushed: done, Failed: failed}); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return &failure{fmt.Errorf("not stored for %s", strings.Join(failed, ", ")),
			"Push it to these again; the other keys have it. Web's log says why."}
	}
	return nil
}

// summary says for people what was done.
func (p *push) summary(messages int, keys []string) string {
	what := "1 message"
	if messages != 1 {
		what = fmt.Sprintf("%d messages", messages)
	}
	to := strings.Join(keys, ", ")
	if p.expire == 0 {
		return fmt.Sprintf("%s sent to %s, if online", what, to)
	}
	return fmt.Sprintf("%s stored for %s, kept for %s", what, to, plain(p.expire))
}
