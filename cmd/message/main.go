// Command message keeps messages and tokens until they are asked for
// (conf/message.toml, docs/operations.md).
package main

import (
	"os"

	"gopush-cluster/cmd/internal/assemble"
	"gopush-cluster/internal/daemon"
)

func main() {
	os.Exit(daemon.Main(daemon.Program{
		Name: "message",
		Check: func(path string) error {
			_, err := assemble.LoadMessage(path)
			return err
		},
		Run: assemble.Message,
	}, os.Args[1:]))
}
