package message

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"gopush-cluster/internal/backoff"
)

// Numbers of errors that the database answers with.
const (
	mysqlTooMany      = 1040 // connections
	mysqlNoDatabase   = 1049
	mysqlStopping     = 1053
	mysqlNoColumn     = 1054
	mysqlDuplicate    = 1062
	mysqlSyntax       = 1064
	mysqlNoTable      = 1146
	mysqlNoVariable   = 1193
	mysqlLockWait     = 1205
	mysqlDeadlock     = 1213
	mysqlInterrupted  = 1317
	mysqlKilled       = 1927
	mysqlChangedSince = 1020
)

const (
	// mysqlDial bounds one attempt to connect. database/sql also connects in the
	// background, for calls that wait for a connection, and sets no end to that.
	mysqlDial = 2 * time.Second
	// mysqlTries is how often a transaction is begun anew.
	mysqlTries = 100
)

// connector returns what makes connections that are set up as the store wants
// them.
func (o mysqlOptions) connector() (driver.Connector, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = o.Source.User, string(o.Source.Password.Bytes())
	cfg.Net, cfg.Addr, cfg.DBName = o.Source.Network, o.Source.Address, o.Source.Database
	cfg.InterpolateParams = true // one round trip a statement
	cfg.MaxAllowedPacket = 0     // ask: what is too large fails here, and costs no connection
	cfg.RejectReadOnly = true    // what was the primary once and has lost that is not asked again
	cfg.Logger = &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("message: mysql %s: %w", o.Source.place(), err)
	}
	return mysqlConnector{c, []string{
		// A caller that gave up leaves its last statement behind, which goes on waiting
		// for its lock, and holds others: not for long. The shortest there is is 1s.
		fmt.Sprintf("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, "+
			"innodb_lock_wait_timeout = 1, wait_timeout = %d", int((o.IdleTimeout + time.Minute).Seconds())),
		// Each statement sees what was committed when it began, so that what is read
		// behind a lock is what the lock's last holder left. The default sees what there
		// was at the first one, and where rows go it locks the gaps between them, which
		// are where others' keys come.
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		// A daemon that freezes in the middle of a transaction, or is cut off, lets go
		// of its keys. MySQL knows no such variable and waits for wait_timeout.
		"SET SESSION idle_transaction_timeout = 10",
	}}, nil
}

// mysqlConnector makes connections and says setup to each of them.
type mysqlConnector struct {
	driver.Connector
	setup []string
}

func (c mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, mysqlDial)
	defer cancel()
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, sql := range c.setup {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, sql, nil); err != nil && !isMySQL(err, mysqlNoVariable) {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// isMySQL reports whether err is an answer of the database with one of numbers;
// with none, whether it is one at all.
func isMySQL(err error, numbers ...uint16) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	for _, n := range numbers {
		if e.Number == n {
			return true
		}
	}
	return len(numbers) == 0
}

// errCommit means that a commit was sent and its answer was not that it is done.
// Whether it is cannot be known.
type errCommit struct{ cause error }

func (e errCommit) Error() string { return "commit: " + e.cause.Error() }

// transaction runs f within a transaction of its own, again if the database took
// it back because of another one. After an error of f nothing is done.
func (s *mysqlStore) transaction(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	pause := backoff.Backoff{Min: time.Millisecond, Max: 50 * time.Millisecond}
	for try := 1; ; try++ {
		err := s.try(ctx, f)
		// A duplicate is a row that an old daemon has put where ours was to go.
		again := isMySQL(err, mysqlDeadlock, mysqlLockWait, mysqlDuplicate, mysqlChangedSince) ||
			errors.Is(err, driver.ErrBadConn) && try <= 3
		if !again || try == mysqlTries || pause.Wait(ctx) != nil {
			return err
		}
	}
}

func (s *mysqlStore) try(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	// No sql.Tx: its Commit knows no context, and a database that hangs would hold
	// it for ever.
	c, err := s.pool.Conn(ctx)
	if err != nil {
		return err
	}
	clean := false
	defer func() {
		if !clean { // the database takes back what was not committed
			_ = c.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = c.Close()
	}()
	if _, err = c.ExecContext(ctx, "START TRANSACTION"); err != nil {
		return err
	}
	if err = f(ctx, c); err == nil {
		if _, err = c.ExecContext(ctx, "COMMIT"); err == nil {
			clean = true
			return nil
		}
		if !isMySQL(err, mysqlDeadlock) { // Galera says at the end that another node was first
			return errCommit{err}
		}
	}
	if isMySQL(err) {
		_, rollback := c.ExecContext(ctx, "ROLLBACK")
		clean = rollback == nil
	}
	return err
}

// failed names the shard in err. What is no answer of the database, or says that
// it cannot be asked just now, is errUnavailable.
func (s *mysqlStore) failed(err error) error {
	where := "mysql " + s.Source.place()
	switch {
	case !isMySQL(err), isMySQL(err, mysqlTooMany, mysqlStopping, mysqlInterrupted, mysqlKilled),
		isMySQL(err, mysqlNoDatabase, mysqlNoTable, mysqlNoColumn): // a ping tells what to do
		return unavailable(where, err)
	case isMySQL(err, mysqlSyntax): // it quotes the statement, and that a message
		return fmt.Errorf("message: %s: error %d", where, mysqlSyntax)
	}
	return fmt.Errorf("message: %s: %w", where, err)
}
