package e2e

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"gopush-cluster/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := errors.Join(testenv.RemoveBinaries(), testenv.RemoveMariaDB()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}
