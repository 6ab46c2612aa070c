package e2e

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"gopush-cluster/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := testenv.RemoveBinaries(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}
