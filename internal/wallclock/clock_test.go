package wallclock

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestShippedBuildHasNoStep proves that the clock of a daemon can be stepped in
// builds with the tag chaos, and in no other.
func TestShippedBuildHasNoStep(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: this test builds a daemon twice")
	}
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{
		{"shipped", nil, false},
		{"chaos", []string{"-tags", "chaos"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "comet")
			cmd := exec.Command("go", append(append([]string{"build", "-o", file}, tt.args...), "gopush-cluster/cmd/comet")...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(b, []byte("GOPUSH_CLOCK_STEP")); got != tt.want {
				t.Errorf("the clock can be stepped: %v, want %v", got, tt.want)
			}
		})
	}
}
