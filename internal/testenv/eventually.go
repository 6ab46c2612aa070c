package testenv

import (
	"testing"
	"time"
)

// Eventually calls cond until it returns nil, and ends the test with cond's
// last error when timeout is over. It is for states that another process
// reaches on its own; what a call can wait for should be waited for there.
func Eventually(t testing.TB, timeout time.Duration, cond func() error) {
	t.Helper()
	err := poll(timeout, cond)
	if err != nil {
		t.Fatalf("not within %v: %v", timeout, err)
	}
}

// poll calls cond every 20 ms until it returns nil, and returns its last error
// when timeout is over.
func poll(timeout time.Duration, cond func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := cond()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// skipShort skips the test under -short.
func skipShort(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("-short: this test needs %s", what)
	}
}
