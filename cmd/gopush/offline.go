package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gopush-cluster/internal/mid"
	"gopush-cluster/web/client"
)

func newOffline(a *app) *cobra.Command {
	var token string
	c := &cobra.Command{
		Use:   "offline KEY",
		Short: "Show what is stored for a key",
		Long: `offline shows the messages that are stored for KEY, oldest first. Looking at them
changes nothing: they stay until they expire or newer ones push them out.`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			key := args[0]
			if err := checkKey(key); err != nil {
				return err
			}
			var stored []client.Message
			err := a.ask(c.Context(), func(ctx context.Context, c *client.Client) (err error) {
				stored, err = c.Messages(ctx, key, 0, token)
				return err
			})
			switch {
			case errors.Is(err, client.ErrParam) && token == "":
				return &failure{err, "Where auth is on, the key's token is needed: --token TOKEN"}
			case errors.Is(err, client.ErrParam):
				return &failure{err, "The token is none of " + key + "'s, or is over. Add it: gopush token add " + key + " TOKEN"}
			}
			if err != nil {
				return err
			}
			if a.output.json {
				for _, m := range stored {
					if err := printJSON(a.out, m); err != nil {
						return err
					}
				}
				return nil
			}
			if len(stored) == 0 {
				_, err := fmt.Fprintf(a.out, "nothing is stored for %s\n", key)
				return err
			}
			var rows []string
			for _, m := range stored {
				rows = append(rows, fmt.Sprintf("%d\t%s\t%s", m.Mid, mid.Time(m.Mid).Local().Format(time.DateTime), m.Msg))
			}
			return table(a.out, "MID\tPUSHED\tMESSAGE", rows)
		},
	}
	c.Flags().StringVar(&token, "token", "", "the key's token, where auth is on")
	return c
}
