package main

import (
	"errors"
	"fmt"

	"gopush-cluster/internal/config"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// failure is an error for somebody at a terminal: what failed, and what to do.
type failure struct {
	err error
	fix string // a whole sentence; may be empty
}

func (f *failure) Error() string {
	if f.fix == "" {
		return f.err.Error()
	}
	return f.err.Error() + "\n" + f.fix
}

func (f *failure) Unwrap() error { return f.err }

// usageError is a command line that cannot be carried out, whatever the cluster
// is like.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitCode tells what the process ends with after err.
func exitCode(err error) int {
	var usage *usageError
	var conf *config.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &conf):
		return exitUsage
	}
	return exitFailed
}
