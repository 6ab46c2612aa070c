//go:build chaos

package wallclock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStep proves that a step is what a step of the machine's clock is: seen in
// the time of day, not in what has passed.
func TestStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "step")
	t.Setenv("GOPUSH_CLOCK_STEP", file)
	before := Now()
	if off := before.Round(0).Sub(time.Now().Round(0)).Abs(); off > time.Second {
		t.Errorf("off by %v without a file", off)
	}
	for _, want := range []time.Duration{10 * time.Second, -10 * time.Second, 0} {
		if err := os.WriteFile(file, []byte(want.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * reread) // the file is looked at that often
		got, now := Now(), time.Now()
		if off := got.Round(0).Sub(now.Round(0)); (off - want).Abs() > time.Second {
			t.Errorf("after a step of %v the clock is off by %v", want, off)
		}
		if off := got.Unix() - now.Unix(); off < int64(want/time.Second)-1 || off > int64(want/time.Second)+1 {
			t.Errorf("after a step of %v the seconds are off by %d", want, off)
		}
		if passed := got.Sub(before); passed < 0 || passed > 5*time.Second {
			t.Errorf("after a step of %v, %v have passed", want, passed)
		}
	}
}
