package message

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
)

const (
	// mysqlBatch and mysqlBytes bound one transaction: its locks are held until it
	// is done.
	mysqlBatch = 512
	mysqlBytes = 4 << 20
	// mysqlPacket is what a database must take in one piece: the largest message,
	// each byte of which may be escaped twice on its way.
	mysqlPacket = 8 << 20
)

// mysqlOptions say how to reach one database and what to keep there.
type mysqlOptions struct {
	Source       MySQLSource
	Idle, Active int // connections
	IdleTimeout  time.Duration
	Durability   string // Memory, Fsync
	Newest       int    // messages kept for a key
	Now          func() time.Time
}

// mysqlStore keeps messages in a database of MySQL or MariaDB (scripts/schema.sql):
// a row each, in a table that old daemons know. What belongs together is done in
// one transaction (mysql_tx.go).
type mysqlStore struct {
	mysqlOptions
	pool  *sql.DB
	probe *sql.DB // of connections that are used once, for Ping
	keep  atomic.Int64

	warned atomic.Pointer[string] // what Ping said last
}

// openMySQL returns a store that connects when it is first used.
func openMySQL(o mysqlOptions) (*mysqlStore, error) {
	c, err := o.connector()
	if err != nil {
		return nil, err
	}
	s := &mysqlStore{mysqlOptions: o, pool: sql.OpenDB(c), probe: sql.OpenDB(c)}
	s.pool.SetMaxOpenConns(o.Active)
	s.pool.SetMaxIdleConns(o.Idle)
	s.pool.SetConnMaxIdleTime(o.IdleTimeout)
	s.probe.SetMaxIdleConns(-1)
	s.keep.Store(int64(o.Newest))
	return s, nil
}

// Keep implements store.
func (s *mysqlStore) Keep(newest int) { s.keep.Store(int64(newest)) }

// Ping implements store. It comes over a connection of its own, and refuses a
// database whose tables are not those that the store wants, or that may lose what
// it has acknowledged.
func (s *mysqlStore) Ping(ctx context.Context) error {
	c, err := s.probe.Conn(ctx)
	if err != nil {
		return s.failed(err)
	}
	defer c.Close()
	has, err := readSchema(ctx, c)
	if err != nil {
		return s.failed(err)
	}
	if wants := has.missing(); len(wants) > 0 {
		return fmt.Errorf("%w: %s: run message -c FILE -migrate-schema, with the file of this daemon: %s",
			errSchema, s.Source.place(), strings.Join(wants, "; "))
	}
	var flush, binlog, sync, packet, readOnly int64
	err = c.QueryRowContext(ctx, "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@max_allowed_packet, @@global.read_only").
		Scan(&flush, &binlog, &sync, &packet, &readOnly)
	if err != nil {
		return s.failed(err)
	}
	if readOnly != 0 {
		return s.failed(errors.New("it is read only, as a replica is; name the primary in mysql.source"))
	}
	lossy := lossySettings(flush, binlog, sync)
	if s.Durability == Fsync && lossy != "" {
		return fmt.Errorf("%w: mysql %s: %s", errSetup, s.Source.place(), lossy)
	}
	if packet < mysqlPacket {
		lossy += fmt.Sprintf("max_allowed_packet is %d: larger messages fail; set it to 16M", packet)
	}
	if was := s.warned.Swap(&lossy); lossy != "" && (was == nil || *was != lossy) {
		glog.Warningf("message: settings of the database shard=%s: %s", s.Source.place(), lossy)
	}
	return nil
}

// lossySettings says which settings of a database let it answer before what it was
// told is on its disk, "" if none does.
func lossySettings(flush, binlog, sync int64) string {
	var lossy string
	switch flush {
	case 0:
		lossy = "innodb_flush_log_at_trx_commit is 0: a kill -9 takes about a second of what was acknowledged; set it to 1. "
	case 2:
		lossy = "innodb_flush_log_at_trx_commit is 2: a power loss takes about a second of what was acknowledged; set it to 1. "
	}
	// What is not in the binary log when the database recovers, it takes back.
	if binlog != 0 && sync != 1 {
		lossy += fmt.Sprintf("sync_binlog is %d: a power loss takes what was acknowledged and is not in the binary log; set it to 1. ", sync)
	}
	return lossy
}

// Close implements store.
func (s *mysqlStore) Close() error {
	s.probe.Close() // holds nothing that could fail
	return s.pool.Close()
}

// marks returns n placeholders, each of them one.
func marks(n int, one string) string {
	return strings.TrimSuffix(strings.Repeat(one+",", n), ",")
}

var _ store = (*mysqlStore)(nil)
