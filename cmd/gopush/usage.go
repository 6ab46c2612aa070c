package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gopush-cluster/internal/wire"
	"gopush-cluster/web/client"
)

// exactly wants n arguments.
func exactly(n int) cobra.PositionalArgs { return arguments(n, n) }

// atLeast wants n arguments or more.
func atLeast(n int) cobra.PositionalArgs { return arguments(n, 1<<30) }

// arguments wants from least to most arguments; Use names them.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= most {
			return nil
		}
		given := fmt.Sprint(len(args))
		if len(args) == 0 {
			given = "none"
		}
		_, names, _ := strings.Cut(c.Use, " ")
		return fmt.Errorf("want %s; got %s", names, given)
	}
}

// wrongFlag says of a flag that has not the value it wants what it wants.
func wrongFlag(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f, want := bad.GetFlag(), ""
	switch f.Value.Type() {
	case "duration":
		want = "a time with its unit, such as 30s or 24h"
	case "int", "int64":
		want = "a whole number"
	default:
		want = f.Value.Type()
	}
	return fmt.Errorf("--%s = %q: want %s", f.Name, bad.GetValue(), want)
}

// check refuses what no command can work with.
func (a *app) check() error {
	for _, u := range []struct{ flag, url, example string }{
		{"--web", a.web, defaultWeb}, {"--admin", a.admin, defaultAdmin},
	} {
		if _, err := client.New(client.Options{Web: u.url}); err != nil || u.url == "" {
			return usagef("%s = %q: want a URL, such as %s", u.flag, u.url, u.example)
		}
	}
	if a.timeout <= 0 {
		return usagef("--timeout = %s: want a time above 0, such as 5s", a.timeout)
	}
	return nil
}

// checkKey refuses what is no key.
func checkKey(key string) error {
	if key == "" || len(key) > wire.MaxKey {
		return usagef("KEY: want 1 to %d bytes, got %d", wire.MaxKey, len(key))
	}
	return nil
}
