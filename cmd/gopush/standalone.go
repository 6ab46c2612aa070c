package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/golang/glog"
	"github.com/spf13/cobra"

	"gopush-cluster/cmd/internal/assemble"
	"gopush-cluster/internal/config"
	"gopush-cluster/message"
)

func newStandalone(a *app) *cobra.Command {
	var data, file string
	var logToStderr, checkOnly bool
	c := &cobra.Command{
		Use:   "standalone",
		Short: "Run a whole cluster in this process",
		Long: `standalone runs comet, web and message in one process, with everything they do in
a cluster, and keeps what must last in a file in the folder that --data names.
Messages survive a restart, and a kill -9. Ctrl-C or SIGTERM ends it cleanly.

All addresses are the daemons' defaults, on loopback. A file given with -c changes
them, and everything else: it has the tables [comet], [web] and [message], each
with the keys of conf/comet.toml, conf/web.toml and conf/message.toml. SIGHUP reads
it again.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := assemble.LoadStandalone(file, data); err != nil || checkOnly {
				if err == nil {
					_, err = fmt.Fprintln(a.out, "ok")
				}
				return explainStart(err)
			}
			if err := logTo(filepath.Join(data, "log"), logToStderr); err != nil {
				return err
			}
			defer glog.Flush()
			ctx, stop := context.WithCancel(c.Context())
			var hangups sync.WaitGroup
			defer hangups.Wait()
			defer stop()
			reload := make(chan struct{})
			hangups.Go(func() { onHangup(ctx, reload) })
			return explainStart(assemble.Standalone(ctx, file, data, reload, func(at assemble.Addresses) {
				if a.output.json {
					_ = printJSON(a.out, at) // whoever started it has gone; it serves all the same
					return
				}
				fmt.Fprint(a.out, welcome(os.Args[0], data, at))
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "data", "folder for what must last; one process at a time")
	f.StringVarP(&file, "config", "c", "", "file with the tables [comet], [web] and [message]")
	f.BoolVar(&checkOnly, "check-config", false, "check the file of -c and exit: 0 if it is good, 2 if not")
	f.BoolVar(&logToStderr, "log-to-stderr", false, "log everything to standard error, instead of into DATA/log")
	return c
}

// logTo makes glog write into the folder dir, which only its owner may read, and
// warnings to standard error too; or everything there.
func logTo(dir string, stderr bool) error {
	if stderr {
		return flag.Set("logtostderr", "true")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &failure{fmt.Errorf("no log can be written: %w", err), "Give a folder that can be written to: --data DIR"}
	}
	// -1: no buffer, for a kill -9 would take half a minute of the log with it.
	return errors.Join(flag.Set("log_dir", dir), flag.Set("stderrthreshold", "WARNING"), flag.Set("logbuflevel", "-1"))
}

// onHangup passes SIGHUP on to asked until ctx ends.
func onHangup(ctx context.Context, asked chan<- struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		select {
		case <-ctx.Done():
			return
		case asked <- struct{}{}:
		}
	}
}

// explainStart adds to what keeps a standalone from starting what to do.
func explainStart(err error) error {
	switch {
	case errors.Is(err, config.ErrUnknownKey):
		return &failure{err, "The file of a standalone has the tables [comet], [web] and [message], each with the keys of that daemon's own file:\n" +
			"[comet]\ntcp.bind = [\"localhost:6969\"]"}
	case errors.Is(err, message.ErrInUse):
		return &failure{err, "Is another gopush standalone running on it? Use that one, or give this one a folder of its own: --data DIR"}
	case errors.Is(err, syscall.EADDRINUSE):
		return &failure{err, "Is another gopush standalone running? Use that one, or stop it. Other addresses go into a file: -c FILE"}
	}
	return err
}

// welcome says what to type next.
func welcome(command, data string, at assemble.Addresses) string {
	sub, push := command+" sub alice", command+` push alice '{"hello":"world"}'`
	if web := "http://" + at.HTTP[0]; !isDefault(web, defaultWeb) {
		sub += " --web " + web
	}
	if admin := "http://" + at.Admin[0]; !isDefault(admin, defaultAdmin) {
		push += " --admin " + admin
	}
	if at.AdminSecret != "" {
		push += " --secret-file " + at.AdminSecret
	}
	return fmt.Sprintf(`A cluster is ready. Its data is in %s.

Subscribe, in a second terminal:

  %s

and push, in a third:

  %s

Ctrl-C ends it; the data stays.
`, data, sub, push)
}

// isDefault reports whether the address that was bound is what a flag's default
// names.
func isDefault(bound, byDefault string) bool {
	return strings.Replace(bound, "127.0.0.1", "localhost", 1) == byDefault
}
