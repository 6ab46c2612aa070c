package testenv

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		if err := poll(time.Second, func() error {
			calls++
			if calls < 3 {
				return errors.New("not yet")
			}
			return nil
		}); err != nil || calls != 3 {
			t.Errorf("poll = %v after %d calls, want nil after 3", err, calls)
		}

		calls, start := 0, time.Now()
		err := poll(time.Second, func() error {
			calls++
			return fmt.Errorf("state %d", calls)
		})
		if want := fmt.Sprintf("state %d", calls); err == nil || err.Error() != want {
			t.Errorf("poll = %v, want the last error, %q", err, want)
		}
		if took := time.Since(start); took < time.Second || took > 2*time.Second {
			t.Errorf("gave up after %v, want about 1s", took)
		}
	})
}
