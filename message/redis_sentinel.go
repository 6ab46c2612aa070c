package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"github.com/gomodule/redigo/redis"
	"golang.org/x/time/rate"

	"gopush-cluster/internal/config"
)

// sentinelNetwork is the Network of a Source whose master sentinels know.
const sentinelNetwork = "sentinel"

// sentinelTime is how long sentinels may take to answer. One that hangs costs a
// failover no more than this, and that only where most of them do.
const sentinelTime = 500 * time.Millisecond

// master is a Redis that sentinels know by name. Where it is changes; they are
// asked when it is first needed and after each failure:
//
//	Ping ─▶ doubt ─┐
//	a failed dial ─┴▶ next dial: ask all sentinels ─▶ connect ─▶ ROLE
//
// A connection to an earlier master is not used again: that one may be cut off,
// and believe that it still is what it was.
type master struct {
	sentinels []string // host:port
	name      string
	password  config.Secret // of Redis, and of the sentinels if they want one

	asking   chan struct{}          // holds one while somebody asks
	at       atomic.Pointer[string] // as last told; nil: nobody was asked yet
	doubtful atomic.Bool            // ask again before the next dial
	sparse   rate.Sometimes
}

// splitSentinels returns the parts of "host:port,host:port/name".
func splitSentinels(address string) (sentinels []string, name string) {
	list, name, _ := strings.Cut(address, "/")
	return strings.Split(list, ","), name
}

func newMaster(address string, password config.Secret) *master {
	m := &master{password: password, asking: make(chan struct{}, 1), sparse: rate.Sometimes{First: 1, Interval: time.Minute}}
	m.sentinels, m.name = splitSentinels(address)
	return m
}

// String names the master in errors.
func (m *master) String() string {
	if at := m.at.Load(); at != nil {
		return m.name + " at " + *at
	}
	return m.name
}

// is reports whether the master is at addr, as far as is known.
func (m *master) is(addr string) bool {
	at := m.at.Load()
	return at != nil && *at == addr
}

func (m *master) doubt() { m.doubtful.Store(true) }

// dial connects to the master, and makes sure that it is one.
func (m *master) dial(ctx context.Context) (redis.Conn, error) {
	addr, err := m.find(ctx)
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, "tcp", addr, m.password)
	if err != nil {
		m.doubt()
		return nil, err
	}
	if err := wantMaster(c); err != nil {
		m.doubt()
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func wantMaster(c redis.Conn) error {
	role, err := redis.Values(c.Do("ROLE"))
	if err != nil {
		return err
	}
	if len(role) == 0 {
		return errors.New("an empty answer to ROLE")
	}
	if name, err := redis.String(role[0], nil); err != nil || name != "master" {
		return fmt.Errorf("%w: its role is %q", errNotMaster, name)
	}
	return nil
}

// find returns where the master is. One caller at a time asks.
func (m *master) find(ctx context.Context) (string, error) {
	select {
	case m.asking <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-m.asking }()
	was := m.at.Load()
	if was != nil && !m.doubtful.Load() {
		return *was, nil
	}
	addr, err := m.ask(ctx)
	switch {
	case err != nil && was != nil: // keys are not to fail because sentinels do
		m.sparse.Do(func() { glog.Warningf("message: sentinels not asked, the master is taken to be where it was: %v", err) })
		return *was, nil
	case err != nil:
		return "", err
	}
	m.doubtful.Store(false)
	if was == nil || *was != addr {
		glog.Infof("message: master of a shard name=%s addr=%s", m.name, addr)
		m.at.Store(&addr)
	}
	return addr, nil
}

// told is what one sentinel says.
type told struct {
	addr  string
	epoch int64 // of its configuration: larger is newer
	err   error
}

// ask asks all sentinels at the same time. Of their answers the one from the
// newest configuration counts, when more than half of them have answered: one
// that was cut off during a failover names the master of old times. If no more
// of them do in time, the newest answer there is has to do.
func (m *master) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sentinelTime)
	answers := make(chan told)
	for _, addr := range m.sentinels {
		go func() { answers <- m.askOne(ctx, addr) }()
	}
	var good []told
	var errs []error
	for range m.sentinels {
		if a := <-answers; a.err != nil {
			errs = append(errs, a.err)
		} else {
			good = append(good, a)
		}
		if len(good) > len(m.sentinels)/2 {
			cancel() // the others end at once
		}
	}
	cancel()
	if len(good) == 0 {
		return "", fmt.Errorf("no sentinel names a master %q: %w", m.name, errors.Join(errs...))
	}
	return slices.MaxFunc(good, func(a, b told) int { return cmp.Compare(a.epoch, b.epoch) }).addr, nil
}

func (m *master) askOne(ctx context.Context, addr string) (t told) {
	defer func() {
		if t.err != nil {
			t.err = fmt.Errorf("sentinel %s: %w", addr, t.err)
		}
	}()
	c, err := connect(ctx, "tcp", addr, config.Secret{})
	if err != nil {
		return told{err: err}
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.sock.Close() })() // ends a read
	values, err := redis.StringMap(c.Do("SENTINEL", "MASTER", m.name))
	if refused, ok := err.(redis.Error); ok && strings.HasPrefix(string(refused), "NOAUTH") && len(m.password.Bytes()) > 0 {
		if _, err = c.Do("AUTH", string(m.password.Bytes())); err == nil {
			values, err = redis.StringMap(c.Do("SENTINEL", "MASTER", m.name))
		}
	}
	if err != nil {
		return told{err: err}
	}
	// During a failover this already names the one that was chosen.
	place, err := redis.Strings(c.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", m.name))
	if err != nil {
		return told{err: err}
	}
	epoch, err := strconv.ParseInt(values["config-epoch"], 10, 64)
	if err != nil || len(place) != 2 {
		return told{err: fmt.Errorf("an answer without an address or epoch: %v, %w", place, err)}
	}
	return told{addr: net.JoinHostPort(place[0], place[1]), epoch: epoch}
}
