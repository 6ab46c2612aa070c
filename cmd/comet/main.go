// Command comet holds the long connections of subscribers and pushes to them
// (conf/comet.toml, docs/operations.md).
package main

import (
	"os"

	"gopush-cluster/cmd/internal/assemble"
	"gopush-cluster/internal/daemon"
)

func main() {
	os.Exit(daemon.Main(daemon.Program{
		Name: "comet",
		Check: func(path string) error {
			_, err := assemble.LoadComet(path)
			return err
		},
		Run: assemble.Comet,
	}, os.Args[1:]))
}
