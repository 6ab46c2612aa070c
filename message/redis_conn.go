package message

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"

	"gopush-cluster/internal/config"
)

// sock is a connection to Redis whose one deadline is that of the call which
// has borrowed it, for connecting, writing and reading together. redigo's own
// timeouts begin anew with each command, so that a trickling server could hold
// a batch for many times its budget; they are kept from the socket.
type sock struct{ net.Conn }

func (sock) SetReadDeadline(time.Time) error  { return nil }
func (sock) SetWriteDeadline(time.Time) error { return nil }

// borrow gives the connection to the call of ctx.
func (s sock) borrow(ctx context.Context) error {
	end, _ := ctx.Deadline() // zero: none
	return s.SetDeadline(end)
}

// redisConn is a redigo connection that knows its socket.
type redisConn struct {
	redis.Conn
	sock sock
	addr string // what was dialed
}

// connect connects to a Redis, or a sentinel, within ctx.
func connect(ctx context.Context, network, addr string, password config.Secret) (*redisConn, error) {
	var s sock
	c, err := redis.DialContext(ctx, network, addr,
		redis.DialPassword(string(password.Bytes())),
		redis.DialContextFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			s = sock{c}
			return s, s.borrow(ctx)
		}))
	if err != nil {
		return nil, err
	}
	return &redisConn{Conn: c, sock: s, addr: addr}, nil
}

// dial connects to the Redis that keeps the shard.
func (s *redisStore) dial(ctx context.Context) (redis.Conn, error) {
	if s.master != nil {
		return s.master.dial(ctx)
	}
	c, err := connect(ctx, s.Network, s.Address, s.Password)
	if err != nil {
		return nil, err // not c, which would be no nil redis.Conn
	}
	return c, nil
}

// newPool returns a pool of connections, none of them open.
func (s *redisStore) newPool() *redis.Pool {
	return &redis.Pool{
		DialContext: s.dial,
		TestOnBorrowContext: func(ctx context.Context, c redis.Conn, _ time.Time) error {
			rc := c.(*redisConn)
			if s.master != nil && !s.master.is(rc.addr) {
				return errNotMaster
			}
			if err := rc.sock.borrow(ctx); err != nil { // first: the deadline of the last call may be over
				return err
			}
			return rc.sock.alive()
		},
		MaxIdle:     s.Idle,
		MaxActive:   s.Active,
		IdleTimeout: s.IdleTimeout,
		Wait:        true, // until the call's ctx ends
	}
}

// alive reports whether the other end has kept an idle connection open. After a
// restart of Redis the pool is full of dead ones, and a save that was written
// into one of them might have been done for all that its caller can tell.
func (s sock) alive() error {
	sc, ok := s.Conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var state error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		switch n, err := syscall.Read(int(fd), b[:]); {
		case n > 0:
			state = errors.New("message: redis said something unasked")
		case err == nil:
			state = io.EOF
		case err != syscall.EAGAIN && err != syscall.EWOULDBLOCK:
			state = err
		}
		return true // never wait
	})
	return errors.Join(state, err)
}

// call is one run of a script.
type call []any // keys, then arguments

// run runs script once for each call, in order on one connection, and returns
// their replies; a reply may be a redis.Error.
func (s *redisStore) run(ctx context.Context, script *redis.Script, calls []call) ([]any, error) {
	c, err := s.pool.GetContext(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	defer c.Close()
	replies, err := s.send(c, script, calls)
	if err == nil && unknownScript(replies) {
		if err = script.Load(c); err == nil {
			replies, err = s.send(c, script, calls)
		}
	}
	if err == nil && len(replies) != len(calls) {
		err = fmt.Errorf("%d replies to %d calls", len(replies), len(calls))
	}
	for _, r := range replies {
		switch refused, ok := r.(redis.Error); {
		case err != nil || !ok:
		case refusedFor(refused, "READONLY"):
			err = errNotMaster
		case refusedFor(refused, "NOREPLICAS"): // min-replicas-to-write
			return nil, fmt.Errorf("%w: redis %s: %v", errNoReplica, s.where(), refused)
		}
	}
	if err != nil {
		return nil, s.failed(err)
	}
	if s.Durability == Replica && promises(script) {
		if err := s.replicated(ctx, c); err != nil {
			return nil, err
		}
	}
	return replies, nil
}

// promises reports whether somebody is told that what script wrote is done. What
// it wrote is then to be with a replica, too.
func promises(script *redis.Script) bool {
	switch script {
	case scriptSave, scriptPut, scriptDelete, scriptTokenAdd:
		return true
	}
	return false
}

// errNotMaster means that what we talk to is a replica, by now.
var errNotMaster = errors.New("this Redis is no master")

// refusedFor reports whether Redis has refused a command, or one of a script's,
// with this word.
func refusedFor(err error, word string) bool {
	refused, ok := err.(redis.Error)
	return ok && strings.Contains(string(refused), word+" ")
}

// send sends the calls, several saves as one transaction: the script is known to
// all of them or to none, so that they can be sent again.
func (s *redisStore) send(c redis.Conn, script *redis.Script, calls []call) ([]any, error) {
	if len(calls) > 1 && (script == scriptSave || script == scriptPut) {
		return transact(c, script, calls)
	}
	// A Redis that is full takes nothing into a transaction, not even reads.
	for _, args := range calls {
		if err := script.SendHash(c, args...); err != nil {
			return nil, err
		}
	}
	if err := c.Flush(); err != nil {
		return nil, err
	}
	replies := make([]any, len(calls))
	for i := range replies {
		reply, err := c.Receive()
		if refused, ok := err.(redis.Error); ok {
			reply, err = refused, nil
		}
		if err != nil {
			return nil, err
		}
		replies[i] = reply
	}
	return replies, nil
}

func transact(c redis.Conn, script *redis.Script, calls []call) ([]any, error) {
	if err := c.Send("MULTI"); err != nil {
		return nil, err
	}
	for _, args := range calls {
		if err := script.SendHash(c, args...); err != nil {
			return nil, err
		}
	}
	return redis.Values(c.Do("EXEC"))
}

// unknownScript reports whether Redis knew the script for some of the calls at
// most: somebody has emptied its cache.
func unknownScript(replies []any) bool {
	return slices.ContainsFunc(replies, func(r any) bool { return refusedFor(asError(r), "NOSCRIPT") })
}

// asError returns a reply that is an error, nil for any other.
func asError(reply any) error {
	err, _ := reply.(error)
	return err
}

// failed names the shard in err. What is no answer of Redis is errUnavailable.
func (s *redisStore) failed(err error) error {
	var refused redis.Error
	if errors.As(err, &refused) && !errors.Is(err, errNotMaster) {
		return fmt.Errorf("message: redis %s: %w", s.where(), err)
	}
	return unavailable("redis "+s.where(), err)
}

// where says in errors which Redis it is.
func (s *redisStore) where() string {
	if s.master != nil {
		return s.master.String()
	}
	return s.Address
}
