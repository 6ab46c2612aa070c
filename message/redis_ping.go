package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Ping implements store. It comes over a connection of its own, and refuses a
// Redis that may lose what it has acknowledged.
func (s *redisStore) Ping(ctx context.Context) error {
	if s.master != nil {
		s.master.doubt()
	}
	c, err := s.dial(ctx)
	if err != nil {
		return s.failed(err)
	}
	defer c.Close()
	info, err := redis.Bytes(c.Do("INFO"))
	if err != nil {
		return s.failed(err)
	}
	if role := field(info, "role"); role == "slave" {
		return s.failed(fmt.Errorf("%w: it replicates %s:%s, and cannot be written to; name the master in redis.source",
			errNotMaster, field(info, "master_host"), field(info, "master_port")))
	}
	if policy := field(info, "maxmemory_policy"); policy != "" && policy != "noeviction" && !s.AllowEviction {
		return fmt.Errorf("%w: redis %s has maxmemory-policy %s and would drop stored messages when it is full; "+
			"set it to noeviction, or allow it with redis.allow_eviction = true", errSetup, s.where(), policy)
	}
	switch s.Durability {
	case Fsync:
		return s.checkFsync(c)
	case Replica:
		err := s.replicated(ctx, c)
		if refused := redis.Error(""); errors.As(err, &refused) {
			return nil // it is full, or so: that is said to who writes, and others may read
		}
		return err
	}
	return nil
}

// field returns what INFO says of name, "" if nothing.
func field(info []byte, name string) string {
	_, value, _ := bytes.Cut(info, []byte("\n"+name+":"))
	value, _, _ = bytes.Cut(value, []byte("\r"))
	return string(value)
}

// checkFsync refuses a Redis that answers before what it was told is on disk.
func (s *redisStore) checkFsync(c redis.Conn) error {
	for _, want := range []struct{ key, value string }{
		{"appendonly", "yes"},
		{"appendfsync", "always"},
		{"no-appendfsync-on-rewrite", "no"}, // with yes nothing is synced while the file is rewritten
	} {
		got, err := redis.Strings(c.Do("CONFIG", "GET", want.key))
		if refused, ok := err.(redis.Error); ok {
			return fmt.Errorf("%w: redis %s does not let us ask for its settings (%s), so that redis.durability = \"fsync\" cannot be checked; "+
				"allow CONFIG GET (ACL: +config|get), or see to it yourself and set redis.durability to \"memory\", which checks nothing",
				errSetup, s.where(), refused)
		}
		if err != nil {
			return s.failed(err)
		}
		if has := strings.Join(got[min(1, len(got)):], " "); has != want.value {
			return fmt.Errorf("%w: redis %s has %s %q and would answer before a message is on its disk; "+
				"set it to %s (redis.conf, CONFIG SET), or redis.durability to \"memory\"",
				errSetup, s.where(), want.key, has, want.value)
		}
	}
	return nil
}

// waitSlack is left of a call's time for the answer to a WAIT in vain: Redis
// looks at its clock ten times a second.
const waitSlack = 150 * time.Millisecond

// replicated waits until a replica has all that Redis was told up to now, by
// whomever: what a repeated save finds may have been written on another
// connection, of whose wait nobody knows the end.
func (s *redisStore) replicated(ctx context.Context, c redis.Conn) error {
	wait := time.Second
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		wait = max(left-waitSlack, left/2)
	}
	ms := wait.Milliseconds()
	if ms < 1 { // 0 would be for ever
		return s.failed(context.DeadlineExceeded)
	}
	if err := c.Send("SET", redisWritten, ""); err != nil {
		return s.failed(err)
	}
	n, err := redis.Int(c.Do("WAIT", 1, ms))
	switch {
	case refusedFor(err, "NOREPLICAS"):
		return fmt.Errorf("%w: redis %s: %v", errNoReplica, s.where(), err)
	case err != nil:
		return s.failed(err)
	case n < 1:
		return fmt.Errorf("%w: redis %s, within %v; redis.durability = \"replica\" wants one", errNoReplica, s.where(), wait.Round(time.Millisecond))
	}
	return nil
}
