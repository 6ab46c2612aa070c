package message

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopush-cluster/internal/config"
	"gopush-cluster/scripts"
)

// errSchema means that the database does not hold the tables that the store wants.
var errSchema = errors.New("message: the schema is missing or old")

// mysqlSchema is what a database holds of our tables.
type mysqlSchema struct {
	tables  map[string]string      // name → engine
	columns map[string]mysqlColumn // of private_msg
	indexes map[string]mysqlIndex  // likewise
}

type mysqlColumn struct {
	kind    string // "bigint"
	length  int64  // of a string
	charset string // "" where it holds bytes
}

type mysqlIndex struct {
	unique  bool
	columns []string
}

// readSchema reads what the database of c holds.
func readSchema(ctx context.Context, c *sql.Conn) (mysqlSchema, error) {
	s := mysqlSchema{map[string]string{}, map[string]mysqlColumn{}, map[string]mysqlIndex{}}
	err := each(ctx, c, func(r *sql.Rows) error {
		var name, engine string
		err := r.Scan(&name, &engine)
		s.tables[name] = engine
		return err
	}, "SELECT table_name, COALESCE(engine, '') FROM information_schema.tables WHERE table_schema = DATABASE() AND"+
		" (table_name = 'private_msg' OR table_name LIKE 'gopush\\_%')")
	if err != nil {
		return s, err
	}
	err = each(ctx, c, func(r *sql.Rows) error {
		var name string
		var col mysqlColumn
		err := r.Scan(&name, &col.kind, &col.length, &col.charset)
		s.columns[name] = col
		return err
	}, "SELECT column_name, data_type, COALESCE(character_maximum_length, 0), COALESCE(character_set_name, '')"+
		" FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'private_msg'")
	if err != nil {
		return s, err
	}
	return s, each(ctx, c, func(r *sql.Rows) error {
		var name, column string
		var common bool
		err := r.Scan(&name, &column, &common)
		index := s.indexes[name]
		s.indexes[name] = mysqlIndex{!common, append(index.columns, column)}
		return err
	}, "SELECT index_name, column_name, non_unique FROM information_schema.statistics"+
		" WHERE table_schema = DATABASE() AND table_name = 'private_msg' ORDER BY index_name, seq_in_index")
}

var createTable = regexp.MustCompile(`(?s)CREATE TABLE IF NOT EXISTS (\w+) .*?;`)

// steps returns the statements that are left to do, with what each of them is for.
func (s mysqlSchema) steps() []mysqlStep {
	var steps []mysqlStep
	for _, m := range createTable.FindAllStringSubmatch(scripts.Schema, -1) {
		if _, ok := s.tables[m[1]]; !ok {
			steps = append(steps, mysqlStep{"create table " + m[1], m[0]})
		}
	}
	if _, ok := s.tables["private_msg"]; ok {
		steps = append(steps, s.alter()...)
	}
	return steps
}

type mysqlStep struct{ what, statement string }

// alter changes a private_msg of older daemons so that both can use it.
func (s mysqlSchema) alter() []mysqlStep {
	var steps []mysqlStep
	var changes []string
	// Text becomes bytes as it is stored. In a character set other than Unicode's
	// those are not what daemons send and ask for.
	for _, name := range []string{"skey", "msg"} {
		switch s.columns[name].charset {
		case "", "utf8", "utf8mb3", "utf8mb4", "ascii":
			continue
		}
		changes = append(changes, "MODIFY "+name+map[string]string{"skey": " VARCHAR(255)", "msg": " LONGTEXT"}[name]+" CHARACTER SET utf8mb4 NOT NULL")
	}
	if changes != nil {
		steps = append(steps, alterPrivate(changes))
		changes = nil
	}
	for _, want := range []struct {
		name, kind string
		length     int64
		definition string
	}{
		{"id", "bigint", 0, "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"},
		{"skey", "varbinary", 255, "VARBINARY(255) NOT NULL"},
		{"mid", "bigint", 0, "BIGINT NOT NULL"},
		{"ttl", "bigint", 0, "BIGINT NOT NULL"},
		{"msg", "longblob", 0, "LONGBLOB NOT NULL"},
		{"nonce", "varbinary", 64, "VARBINARY(64) NOT NULL DEFAULT ''"},
	} {
		got, ok := s.columns[want.name]
		switch {
		case !ok:
			changes = append(changes, "ADD COLUMN "+want.name+" "+want.definition)
		case got.kind != want.kind || got.length < want.length:
			changes = append(changes, "MODIFY "+want.name+" "+want.definition)
		}
	}
	indexed := func(unique bool, columns ...string) bool {
		for _, index := range s.indexes {
			if index.unique == unique && slices.Equal(index.columns, columns) {
				return true
			}
		}
		return false
	}
	if !indexed(true, "skey", "mid") {
		changes = append(changes, "ADD UNIQUE KEY skey_mid (skey, mid)")
	}
	if !indexed(false, "ttl") {
		changes = append(changes, "ADD KEY ttl (ttl)")
	}
	if engine := s.tables["private_msg"]; !strings.EqualFold(engine, "InnoDB") {
		changes = append(changes, "ENGINE=InnoDB")
	}
	if changes != nil {
		steps = append(steps, alterPrivate(changes))
	}
	return steps
}

func alterPrivate(changes []string) mysqlStep {
	return mysqlStep{"change table private_msg: " + strings.Join(changes, ", "), "ALTER TABLE private_msg " + strings.Join(changes, ", ")}
}

// missing says what is left to do, nothing if the store can work.
func (s mysqlSchema) missing() []string {
	var all []string
	for _, step := range s.steps() {
		all = append(all, step.what)
	}
	return all
}

// MigrateSchema prepares the databases of all shards, and says what it does. It may
// be repeated, and run on two machines at once: one waits for the other. A shard
// that fails keeps none of the others from being prepared.
func MigrateSchema(ctx context.Context, cfg Config, say func(format string, args ...any)) error {
	if cfg.Storage.Type != MySQL {
		var p config.Problems
		p.Addf("storage.type = %q: only %q has a schema", cfg.Storage.Type, MySQL)
		return p.Err()
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.MySQL.Source)) {
		src := cfg.MySQL.Source[name]
		n, err := migrateShard(ctx, src, func(what string) { say("%s (%s): %s", name, src.place(), what) })
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s (%s): %w", name, src.place(), err))
		case n == 0:
			say("%s (%s): nothing to do", name, src.place())
		default:
			say("%s (%s): done", name, src.place())
		}
	}
	return errors.Join(errs...)
}

const (
	// migrateWait is how long one migration waits for another, and migrateLock for
	// the transactions that use a table: who comes after it has to wait as well.
	migrateWait = 600 // seconds
	migrateLock = 10  // seconds
)

// migrateShard returns how many steps it took.
func migrateShard(ctx context.Context, src MySQLSource, say func(string)) (n int, err error) {
	o := mysqlOptions{Source: src}
	connector, err := o.connector()
	if err != nil {
		return 0, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close() // gives the lock back
	// Copying a table takes its time: nothing of the session ends it.
	if _, err := c.ExecContext(ctx, "SET SESSION lock_wait_timeout = ?, wait_timeout = 86400", migrateLock); err != nil {
		return 0, err
	}
	var locked sql.NullInt64
	err = c.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('gopush ', LEFT(SHA1(DATABASE()), 16)), ?)", migrateWait).Scan(&locked)
	if err != nil {
		return 0, err
	}
	if locked.Int64 != 1 {
		return 0, fmt.Errorf("another migration has been at it for %d s", migrateWait)
	}
	for {
		has, err := readSchema(ctx, c)
		if err != nil {
			return n, err
		}
		steps := has.steps()
		if len(steps) == 0 {
			return n, nil
		}
		if n > 16 {
			return n, fmt.Errorf("the database does not keep what was done: %s", strings.Join(has.missing(), "; "))
		}
		say(steps[0].what)
		if _, err := c.ExecContext(ctx, steps[0].statement); err != nil {
			return n, fmt.Errorf("%s: %w", steps[0].what, err)
		}
		n++
	}
}
