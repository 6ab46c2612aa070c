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
		Tasks: []daemon.Task{{
			Flag:  "migrate-schema",
			Usage: "prepare the databases of mysql.source, or bring them up to date, and exit: 0 if they are ready, 1 if not",
			Do:    assemble.MigrateMessage,
		}},
	}, os.Args[1:]))
}
