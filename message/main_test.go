package message

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"gopush-cluster/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.Cleanup(func(code int) {
			if err := testenv.RemoveMariaDB(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
			os.Exit(code)
		}))
}
