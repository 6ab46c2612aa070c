package daemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// pidFile writes our process id to path and returns what removes it. The file
// is locked as long as we live, so that a second daemon with the same path is
// refused, while one left behind by a crash is not in the way.
func pidFile(path string) (remove func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("-pid: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("-pid %s: another daemon holds it; stop that one or give another file", path)
	} else if err != nil {
		return nil, fmt.Errorf("-pid %s: %w", path, err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("-pid: %w", err)
	}
	if _, err := f.WriteString(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, fmt.Errorf("-pid: %w", err)
	}
	return func() {
		os.Remove(path)
		f.Close()
	}, nil
}
