package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gopush-cluster/web/client"
)

func newToken(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Decide who may connect, where auth is on",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTokenAdd(a))
	return c
}

// maxToken is what fits into the command with which a client subscribes.
const maxToken = 2048

// added is the answer of token add -o json. It does not repeat the token.
type added struct {
	Key     string `json:"key"`
	Seconds int64  `json:"seconds,omitempty"` // it lives; left out: 30 days, renewed by use
}

func newTokenAdd(a *app) *cobra.Command {
	var expire time.Duration
	c := &cobra.Command{
		Use:   "add KEY TOKEN",
		Short: "Let a key connect with a token",
		Long: `add lets KEY connect with TOKEN, for 30 days that begin again with each use, or
for exactly as long as --expire says. A key may have several tokens; adding one
again renews it.`,
		Example: `  gopush token add alice s3cret
  gopush token add alice s3cret --expire 1h`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			key, token := args[0], args[1]
			if err := checkKey(key); err != nil {
				return err
			}
			if token == "" || len(token) > maxToken {
				return usagef("TOKEN: want 1 to %d bytes, got %d", maxToken, len(token))
			}
			if expire < 0 || expire%time.Second != 0 || c.Flags().Changed("expire") && expire == 0 {
				return usagef("--expire = %s: want whole seconds, 1s or more", expire)
			}
			err := a.ask(c.Context(), func(ctx context.Context, c *client.Client) error {
				return c.TokenAdd(ctx, key, token, expire)
			})
			switch {
			case err != nil:
				return err
			case a.output.json:
				return printJSON(a.out, added{key, int64(expire / time.Second)})
			case expire > 0:
				_, err = fmt.Fprintf(a.out, "%s may connect with this token for %s\n", key, plain(expire))
			default:
				_, err = fmt.Fprintf(a.out, "%s may connect with this token for 30 days, renewed by use\n", key)
			}
			return err
		},
	}
	c.Flags().DurationVar(&expire, "expire", 0, "how long the token lives (default 30 days, renewed by use)")
	return c
}
