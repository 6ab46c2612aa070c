package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"gopush-cluster/internal/registry"
	"gopush-cluster/web/client"
)

func newWeight(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "weight NODE WEIGHT",
		Short: "Give a comet another share of the keys",
		Long: `weight gives the comet of NODE another weight, from 1 to 100, until it is
restarted; then the one of its file (zookeeper.comet.weight) counts again. The ring
follows, and clients whose keys move are sent to their new comet, at the pace of
migrate.rate.`,
		Example: `  gopush weight node1 3`,
		Args:    exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			node := args[0]
			weight, err := strconv.Atoi(args[1])
			if err != nil || weight < registry.MinWeight || weight > registry.MaxWeight {
				return usagef("WEIGHT = %q: want a number from %d to %d", args[1], registry.MinWeight, registry.MaxWeight)
			}
			err = a.operate(c.Context(), node, func(ctx context.Context, c *client.Client) error {
				return c.SetWeight(ctx, node, weight)
			})
			switch {
			case err != nil:
				return err
			case a.output.json:
				return printJSON(a.out, weighed{node, weight})
			}
			_, err = fmt.Fprintf(a.out, "%s takes weight %d until it is restarted\n", node, weight)
			return err
		},
	}
}

// weighed is the answer of weight -o json.
type weighed struct {
	Node   string `json:"node"`
	Weight int    `json:"weight"`
}

func newDrain(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drain NODE",
		Short: "Stop a comet without its clients missing anything",
		Long: `drain makes the comet of NODE leave the ring, send its clients elsewhere at the
pace of migrate.rate, and end, like SIGTERM. Its keys go to a standby, if there is
one, or to the other comets: drain.keep does not count. A comet that its supervisor
starts again comes back. The comet of gopush standalone takes the others with it.`,
		Example: `  gopush drain node1`,
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			node := args[0]
			err := a.operate(c.Context(), node, func(ctx context.Context, c *client.Client) error { return c.Drain(ctx, node) })
			switch {
			case err != nil:
				return err
			case a.output.json:
				return printJSON(a.out, draining{node})
			}
			_, err = fmt.Fprintf(a.out, "%s leaves the ring and sends its clients elsewhere\n", node)
			return err
		},
	}
}

// draining is the answer of drain -o json.
type draining struct {
	Draining string `json:"draining"`
}

// operate makes a call that is for one node.
func (a *app) operate(ctx context.Context, node string, call func(context.Context, *client.Client) error) error {
	err := a.ask(ctx, call)
	if errors.Is(err, client.ErrParam) {
		return &failure{fmt.Errorf("%q is no node of the ring: %w", node, err), "See which there are: gopush nodes"}
	}
	return err
}
