package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"gopush-cluster/internal/version"
)

// app is one run of the command: its streams and the flags that every command
// shares.
type app struct {
	in          io.Reader
	out, errOut io.Writer
	stateDir    string // where sub remembers mids

	web, admin string // base URLs
	secretFile string
	output     format
	timeout    time.Duration
}

// Where a web is found that runs with its defaults on this machine.
const (
	defaultWeb   = "http://localhost:8090"
	defaultAdmin = "http://localhost:8091"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "gopush",
		Short: "Run a push cluster in one process, and talk to one",
		Long: `gopush runs a whole push cluster in one process, and talks to any cluster:
subscribe like a client, push like a back-end, look inside.

In one terminal:   gopush standalone
In another:        gopush sub alice
In a third:        gopush push alice '{"hello":"world"}'`,
		Version:           version.String(),
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.check() },
		SilenceErrors:     true, // run prints them
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.SetVersionTemplate("gopush {{.Version}}\n")

	flags := root.PersistentFlags()
	flags.StringVar(&a.web, "web", defaultWeb, "web's public address (http.bind)")
	flags.StringVar(&a.admin, "admin", defaultAdmin, "web's internal address (admin.bind)")
	flags.StringVar(&a.secretFile, "secret-file", "", "file with the secret of the internal address (admin.secret_file)")
	flags.VarP(&a.output, "output", "o", "text for people, json for programs")
	flags.DurationVar(&a.timeout, "timeout", 5*time.Second, "longest wait for one answer")

	root.AddCommand(
		newStandalone(a), newSub(a), newPush(a), newToken(a), newNodes(a), newWeight(a), newDrain(a), newOffline(a),
	)
	markUsage(root)
	return root
}

// markUsage makes the errors with which cobra refuses a command line usage
// errors, for every command below c.
func markUsage(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return wrongUse(c, wrongFlag(err)) })
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return wrongUse(c, check(c, args)) }
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}

// wrongUse says how the command is used; nil stays nil.
func wrongUse(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return usagef("%w\nUsage: %s\nSee also: %s --help", err, c.UseLine(), c.CommandPath())
}
