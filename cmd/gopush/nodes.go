package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gopush-cluster/web/client"
)

func newNodes(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "Show the ring: places, shares, addresses, who is alive",
		Long: `nodes shows the ring as web sees it, one place a line: its weight and share of
the keys, whether its comet answers, the znode of that comet, how many others
stand by for it, and where clients and daemons reach it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var nodes []client.Node
			err := a.ask(c.Context(), func(ctx context.Context, c *client.Client) (err error) {
				nodes, err = c.Nodes(ctx)
				return err
			})
			if err != nil {
				return err
			}
			if a.output.json {
				if nodes == nil {
					nodes = []client.Node{}
				}
				return printJSON(a.out, nodes)
			}
			if len(nodes) == 0 {
				_, err := fmt.Fprintln(a.out, "the ring is empty: no comet has registered")
				return err
			}
			var rows []string
			for _, n := range nodes {
				rows = append(rows, nodeRow(n))
			}
			return table(a.out, "NODE\tWEIGHT\tSHARE\tSTATE\tACTIVE\tSTANDBYS\tTCP\tWEBSOCKET\tRPC", rows)
		},
	}
}

func nodeRow(n client.Node) string {
	state := "alive"
	switch {
	case n.Active == "":
		state = "away" // its place is kept
	case !n.Alive && n.Seen.IsZero():
		state = "silent, never answered"
	case !n.Alive:
		state = "silent since " + n.Seen.Local().Format("15:04:05")
	}
	return fmt.Sprintf("%s\t%d\t%.1f%%\t%s\t%s\t%d\t%s\t%s\t%s", n.Name, n.Weight, 100*n.Share, state,
		orDash(n.Active), n.Standbys, list(n.TCP), list(n.WS), list(n.RPC))
}

func list(addrs []string) string { return orDash(strings.Join(addrs, ",")) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
