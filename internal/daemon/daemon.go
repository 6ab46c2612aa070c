package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/golang/glog"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/version"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// Program is one daemon.
type Program struct {
	// Name is that of the binary; conf/<Name>.toml is the file read when -c is
	// not given.
	Name string
	// Check reads and validates the configuration at path and does nothing else.
	Check func(path string) error
	// Run runs the daemon until ctx ends, and drains then. reload gets a value
	// when the configuration is to be read again; several signals may become
	// one. An error that is a *config.Error exits with code 2.
	Run func(ctx context.Context, path string, reload <-chan struct{}) error
	// Tasks are what it can do instead of running.
	Tasks []Task
}

// Task is something that is done once, with the daemon's configuration, when its
// flag is given.
type Task struct {
	Flag, Usage string
	// Do does it until ctx ends, and writes what it does to out. An error that is a
	// *config.Error exits with code 2.
	Do func(ctx context.Context, path string, out io.Writer) error
}

// Main runs p with the arguments of the process, program name left out, and
// returns the exit code:
//
//	func main() { os.Exit(daemon.Main(program, os.Args[1:])) }
//
// After a second SIGTERM or SIGINT it returns without waiting for Run.
func Main(p Program, args []string) int {
	defer glog.Flush()
	signals, stop := listen()
	defer stop()
	return run(p, args, process{stdout: os.Stdout, stderr: os.Stderr, signals: signals})
}

// process is what Main has of the process it runs in.
type process struct {
	stdout, stderr io.Writer
	signals        <-chan os.Signal
}

func run(p Program, args []string, proc process) int {
	opts, err := parse(p, args, proc.stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil: // parse has said what
		return exitUsage
	case opts.version:
		fmt.Fprintln(proc.stdout, p.Name, version.String())
		return exitOK
	}
	if err := p.Check(opts.config); err != nil {
		return fail(p, err, proc)
	}
	if opts.check {
		fmt.Fprintln(proc.stdout, "ok")
		return exitOK
	}
	if err := opts.logging(); err != nil {
		return fail(p, err, proc)
	}
	for i, t := range p.Tasks {
		if opts.tasks[i] {
			err := supervise(p.Name, proc.signals, func(ctx context.Context, _ <-chan struct{}) error {
				return t.Do(ctx, opts.config, proc.stdout)
			})
			if err != nil {
				return fail(p, err, proc)
			}
			return exitOK
		}
	}
	if opts.pid != "" {
		remove, err := pidFile(opts.pid)
		if err != nil {
			return fail(p, err, proc)
		}
		defer remove()
	}
	glog.Infof("%s: starting version=%q config=%s", p.Name, version.String(), opts.config)
	err = supervise(p.Name, proc.signals, func(ctx context.Context, reload <-chan struct{}) error {
		return p.Run(ctx, opts.config, reload)
	})
	if err != nil {
		return fail(p, err, proc)
	}
	glog.Infof("%s: stopped", p.Name)
	return exitOK
}

// fail tells the one who started p and returns the exit code for err.
func fail(p Program, err error, proc process) int {
	fmt.Fprintf(proc.stderr, "%s: %v\n", p.Name, err)
	return exitCode(err)
}

// exitCode returns the exit code of a daemon that ended with err.
func exitCode(err error) int {
	var bad *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &bad):
		return exitUsage
	}
	return exitFailure
}

// options are the flags of a daemon.
type options struct {
	config         string
	check, version bool
	pid            string
	tasks          []bool          // of the program, in their order
	given          map[string]bool // flags on the command line
}

// parse reads args. glog's own flags are among them; it keeps their values.
func parse(p Program, args []string, stderr io.Writer) (options, error) {
	o := options{tasks: make([]bool, len(p.Tasks))}
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.config, "c", "conf/"+p.Name+".toml", "configuration `file`")
	fs.BoolVar(&o.check, "check-config", false, "check the configuration and exit: 0 if it is good, 2 if not")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	fs.StringVar(&o.pid, "pid", "", "write the process id to this `file` and remove it at the end")
	for i, t := range p.Tasks {
		fs.BoolVar(&o.tasks[i], t.Flag, false, t.Usage)
	}
	flag.VisitAll(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			fs.Var(f.Value, f.Name, f.Usage)
		}
	})
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", fs.Arg(0))
		fmt.Fprintf(stderr, "%v; the configuration is given with -c\n", err)
		return o, err
	}
	o.given = make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	return o, nil
}
