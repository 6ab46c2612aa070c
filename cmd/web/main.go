// Command web answers HTTP: which comet holds a key, what was missed, pushes and tokens
// (conf/web.toml, docs/operations.md).
package main

import (
	"os"

	"gopush-cluster/cmd/internal/assemble"
	"gopush-cluster/internal/daemon"
)

func main() {
	os.Exit(daemon.Main(daemon.Program{
		Name: "web",
		Check: func(path string) error {
			_, err := assemble.LoadWeb(path)
			return err
		},
		Run: assemble.Web,
	}, os.Args[1:]))
}
