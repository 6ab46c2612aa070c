package assemble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gopush-cluster/comet"
	"gopush-cluster/internal/backoff"
	"gopush-cluster/internal/config"
	"gopush-cluster/internal/daemon"
	"gopush-cluster/internal/registry"
	"gopush-cluster/message"
	"gopush-cluster/web"
)

// StandaloneConfig is the file of the three daemons in one process: each has a
// table with the keys of its own file.
type StandaloneConfig struct {
	Comet   comet.Config   `toml:"comet"`
	Web     web.Config     `toml:"web"`
	Message message.Config `toml:"message"`
}

// DefaultStandalone is what no file means: all addresses at their defaults, and
// everything that must last in a file in the folder data.
func DefaultStandalone(data string) StandaloneConfig {
	c := StandaloneConfig{comet.DefaultConfig(), web.DefaultConfig(), message.DefaultConfig()}
	c.Message.Storage.Type = message.Embedded
	c.Message.Storage.Path = data
	return c
}

// Validate checks the three, and that nothing is said about a ZooKeeper.
func (c StandaloneConfig) Validate() error {
	var p config.Problems
	table := func(name string, err error) {
		var e *config.Error
		switch {
		case errors.As(err, &e):
			for _, problem := range e.Problems {
				p.Addf("[%s] %w", name, problem)
			}
		case err != nil:
			p.Addf("[%s] %w", name, err)
		}
	}
	table("comet", c.Comet.Validate())
	table("web", c.Web.Validate())
	table("message", c.Message.Validate())
	none := func(name string, differ []string) {
		for _, key := range differ {
			p.Addf("%s.zookeeper.%s: one process needs no ZooKeeper; remove it", name, key)
		}
	}
	none("comet", config.Diff(comet.DefaultConfig().ZooKeeper, c.Comet.ZooKeeper))
	none("web", config.Diff(web.DefaultConfig().ZooKeeper, c.Web.ZooKeeper))
	none("message", config.Diff(message.DefaultConfig().ZooKeeper, c.Message.ZooKeeper))
	return p.Err()
}

// LoadStandalone reads and checks the file at path; "" is no file.
func LoadStandalone(path, data string) (StandaloneConfig, error) {
	c := DefaultStandalone(data)
	if path == "" {
		return c, c.Validate()
	}
	return load(path, c)
}

// verbosity is that of the daemon that logs most: they share one log.
func (c StandaloneConfig) verbosity() int {
	return max(c.Comet.Log.V, c.Web.Log.V, c.Message.Log.V)
}

// Addresses are where a standalone is reached.
type Addresses struct {
	HTTP      []string `json:"http"`  // web's http.bind
	Admin     []string `json:"admin"` // web's admin.bind
	TCP       []string `json:"tcp"`   // comet's, as clients are told
	WebSocket []string `json:"websocket"`
	// AdminSecret is the file with what back-ends send; left out: nothing.
	AdminSecret string `json:"admin_secret_file,omitempty"`
}

// Standalone runs the three daemons in this process until ctx ends, and calls
// ready once a push to any key would be stored and delivered. A value from
// reload makes it read the file again.
func Standalone(ctx context.Context, path, data string, reload <-chan struct{}, ready func(Addresses)) error {
	cfg, err := LoadStandalone(path, data)
	if err != nil {
		return err
	}
	if err := daemon.SetVerbosity(cfg.verbosity()); err != nil {
		return err
	}
	memory := registry.NewMemory()
	defer memory.Close()
	// message first: it is the one that finds the data in use.
	m, err := newMessage(cfg.Message, memory)
	if err != nil {
		return fmt.Errorf("[message] %w", err)
	}
	c, err := newComet(cfg.Comet, memory)
	if err != nil {
		return fmt.Errorf("[comet] %w", err)
	}
	w, err := newWeb(cfg.Web, memory)
	if err != nil {
		return fmt.Errorf("[web] %w", err)
	}
	apply := func(next StandaloneConfig) (restart []string, err error) {
		for _, part := range []struct {
			name  string
			apply func() ([]string, error)
		}{
			{"web", func() ([]string, error) { return w.reload(next.Web) }},
			{"message", func() ([]string, error) { return m.reload(next.Message) }},
			{"comet", func() ([]string, error) { return c.reload(next.Comet) }},
		} {
			keys, err := part.apply()
			if err != nil {
				return nil, err
			}
			for _, key := range keys {
				restart = append(restart, part.name+"."+key)
			}
		}
		return restart, nil
	}
	layers := []layer{reloading("standalone", reload, reloader[StandaloneConfig]{
		load:      func() (StandaloneConfig, error) { return LoadStandalone(path, data) },
		apply:     apply,
		verbosity: StandaloneConfig.verbosity,
		last:      cfg,
	})}
	layers = append(layers, m.layers...)
	layers = append(layers, c.layers...)
	layers = append(layers, w.layers...)
	layers = append(layers, func(ctx context.Context) error {
		if err := allReady(ctx, m, c, w); err == nil {
			info := c.Info()
			ready(Addresses{HTTP: w.HTTPAddrs(), Admin: w.AdminAddrs(), TCP: info.TCP, WebSocket: info.WS, AdminSecret: cfg.Web.Admin.SecretFile})
		}
		<-ctx.Done()
		return nil
	})
	return stack(ctx, layers...)
}

// allReady waits until each daemon can do its work and web has found the comet.
func allReady(ctx context.Context, m messageUnit, c cometUnit, w webUnit) error {
	pause := backoff.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	for {
		err := errors.Join(m.Ready(ctx), c.ready(ctx), w.Ready(ctx))
		if _, found := w.directory.Lookup("any"); err == nil && found {
			return nil
		}
		if err := pause.Wait(ctx); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}
