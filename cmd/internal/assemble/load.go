package assemble

import (
	"errors"

	"gopush-cluster/comet"
	"gopush-cluster/internal/config"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

// LoadComet reads and checks the file of a comet. Its error names all that is
// wrong.
func LoadComet(path string) (comet.Config, error) { return load(path, comet.DefaultConfig()) }

// LoadWeb does so for a web.
func LoadWeb(path string) (web.Config, error) { return load(path, web.DefaultConfig()) }

// LoadMessage does so for a message daemon.
func LoadMessage(path string) (message.Config, error) { return load(path, message.DefaultConfig()) }

// load reads the file at path over c. A mistyped key hides no value that is
// out of range: what could not be read keeps its default and the rest is checked.
func load[C validated](path string, c C) (C, error) {
	var p config.Problems
	p.Add(config.Load(path, &c))
	p.Add(c.Validate())
	return c, inFile(path, p.Err())
}

// inFile adds the file to an error that knows the values only.
func inFile(path string, err error) error {
	var e *config.Error
	if errors.As(err, &e) && e.Path == "" {
		e.Path = path
	}
	return err
}
