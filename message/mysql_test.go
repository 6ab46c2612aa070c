package message

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/testenv"
)

// mysqlSource returns the database of server.
func mysqlSource(server *testenv.MariaDBServer) MySQLSource {
	return MySQLSource{Network: "tcp", Address: server.Addr(), Database: "gopush", User: "root"}
}

// testMySQL returns options for the database of server.
func testMySQL(server *testenv.MariaDBServer, now func() time.Time) mysqlOptions {
	return mysqlOptions{
		Source: mysqlSource(server), Idle: 8, Active: 32, IdleTimeout: time.Minute, Newest: keepForTest, Now: now,
	}
}

// openTestMySQL returns a store in a database that is prepared. The caller
// closes it.
func openTestMySQL(t testing.TB, o mysqlOptions) *mysqlStore {
	t.Helper()
	if _, err := migrateShard(t.Context(), o.Source, func(string) {}); err != nil {
		t.Fatal(err)
	}
	s, err := openMySQL(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dialMySQL returns connections of the test's own.
func dialMySQL(t testing.TB, server *testenv.MariaDBServer) *sql.DB {
	t.Helper()
	c, err := testMySQL(server, nil).connector()
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db
}

// rows runs a statement and returns the rows of its answer as text.
func rows(t testing.TB, db *sql.DB, statement string, args ...any) []string {
	t.Helper()
	var out []string
	err := each(t.Context(), db, func(r *sql.Rows) error {
		names, err := r.Columns()
		if err != nil {
			return err
		}
		vals, to := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range vals {
			to[i] = &vals[i]
		}
		if err := r.Scan(to...); err != nil {
			return err
		}
		line := ""
		for i, v := range vals {
			if i > 0 {
				line += " "
			}
			line += v.String
		}
		out = append(out, line)
		return nil
	}, statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return out
}

func TestMySQLStore(t *testing.T) {
	server := testenv.MariaDB(t)
	testStore(t, func(t *testing.T, c *clock) *fixture {
		f := &fixture{store: openTestMySQL(t, testMySQL(server, c.now))}
		f.reopen = func() store {
			server.Kill() // every acknowledged write is on its disk
			server.Start()
			return f.store // its pool is full of connections that died
		}
		return f
	})
}

func TestMySQLHung(t *testing.T) {
	server := testenv.MariaDB(t)
	o := testMySQL(server, time.Now)
	o.Active, o.Idle = 2, 2
	s := openTestMySQL(t, o)
	defer s.Close()
	testHung(t, s, server.Process)
}

func TestMySQLKilledInMidSave(t *testing.T) {
	server := testenv.MariaDB(t)
	o := testMySQL(server, time.Now)
	o.Newest = 1 << 20
	s := openTestMySQL(t, o)
	defer s.Close()
	testKilledInMidSave(t, s, server.Process)
}

func TestMySQLLargeBatch(t *testing.T) {
	// What MySQL 5.7 takes in one piece, and what a batch may hold.
	s := openTestMySQL(t, testMySQL(testenv.MariaDB(t, "--max-allowed-packet=4M"), time.Now))
	defer s.Close()
	testLargeBatch(t, s, mysqlBatch)
	var items []item
	for range 8 {
		items = append(items, item{key: "escaped", msg: message(`"`+strings.Repeat(`\"`, 1<<19-1)+`"`, time.Now().Unix()+60, "")})
	}
	for i, got := range s.Save(t.Context(), items) {
		if got.err != nil {
			t.Fatalf("item %d, each byte of which is escaped: %v", i, got.err)
		}
	}
}

func TestMySQLTwoDaemons(t *testing.T) {
	server := testenv.MariaDB(t)
	testTwoDaemons(t, func(now func() time.Time) store { return openTestMySQL(t, testMySQL(server, now)) })
}

// A save that lost its connection may have been done: the caller is told so, and
// finds out by the nonce.
func TestMySQLLostAnswer(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	proxy := testenv.Proxy(t, server.Addr())
	o := testMySQL(server, time.Now)
	o.Source.Address = proxy.Addr()
	s := openTestMySQL(t, o)
	defer s.Close()
	first := item{key: "k", msg: message(`1`, time.Now().Unix()+60, "first")}
	if err := s.Save(t.Context(), []item{first})[0].err; err != nil {
		t.Fatal(err)
	}
	// Another transaction holds the key's lock until nothing comes back any more.
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1 FROM gopush_record WHERE skey = 'k' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	it := item{key: "k", msg: message(`2`, time.Now().Unix()+60, "second"), retry: true}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	answer := make(chan saved)
	go func() { answer <- s.Save(ctx, []item{it})[0] }()
	testenv.Eventually(t, 5*time.Second, func() error {
		if got := rows(t, db, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")[0]; got != "Innodb_row_lock_current_waits 1" {
			return errors.New(got)
		}
		return nil
	})
	// What the save asks next goes up, and no answer comes down: it ends unsure. The
	// database has begun a transaction that nobody ends.
	proxy.Hold(false, true)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; !errors.Is(got.err, errUnavailable) {
		t.Errorf("Save: %+v, want errUnavailable", got)
	}
	proxy.Hold(false, false)
	got := s.Save(t.Context(), []item{it})[0]
	if got.err != nil {
		t.Fatal(got.err)
	}
	if kept := s.Read(t.Context(), []query{{key: "k", limit: 9}})[0]; len(kept.msgs) != 2 || kept.msgs[1].Mid != got.mid {
		t.Errorf("kept %v, %v; want each once, the second with mid %d", bodies(kept.msgs), kept.err, got.mid)
	}
}

// A commit without an answer is not taken for "not done", whether it was or not, and
// is not tried again.
func TestMySQLUnsureCommit(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	proxy := testenv.Proxy(t, server.Addr())
	o := testMySQL(server, time.Now)
	o.Source.Address = proxy.Addr()
	s := openTestMySQL(t, o)
	defer s.Close()
	for _, test := range []struct {
		name string
		cut  func(connection string)
		done []string
	}{
		{"the connection is gone", func(id string) { rows(t, db, "KILL CONNECTION "+id) }, nil},
		{"its answer is lost", func(string) { proxy.Hold(false, true) }, []string{"80"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			runs := 0
			err := s.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
				runs++
				if _, err := c.ExecContext(ctx, "INSERT INTO gopush_pending (skey, mid) VALUES ('k', 80)"); err != nil {
					return err
				}
				var id string
				err := c.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)
				test.cut(id)
				return err
			})
			if runs != 1 || !errors.As(err, new(errCommit)) || !errors.Is(s.failed(err), errUnavailable) {
				t.Errorf("after %d runs: %v; want an unsure commit after 1", runs, err)
			}
			proxy.Hold(false, false)
			same(t, "rows", rows(t, db, "SELECT mid FROM gopush_pending"), test.done)
		})
	}
}

// A daemon that freezes or is cut off in the middle of a save holds its keys for
// some seconds, not for hours.
func TestMySQLAbandonedLock(t *testing.T) {
	server := testenv.MariaDB(t)
	o := testMySQL(server, time.Now)
	s := openTestMySQL(t, o)
	defer s.Close()
	frozen, err := s.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	for _, statement := range []string{
		"SET SESSION idle_transaction_timeout = 3", // sooner than the store's own: the test is short
		"START TRANSACTION",
		"INSERT INTO gopush_record (skey, last, trimmed, till) VALUES ('k', 0, 0, 0)",
	} {
		if _, err := frozen.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "the store's own", rows(t, s.pool, "SELECT @@SESSION.idle_transaction_timeout, @@SESSION.innodb_lock_wait_timeout"), []string{"10 1"})
	it := item{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
	defer cancel()
	if err := s.Save(ctx, []item{it})[0].err; !errors.Is(err, errUnavailable) {
		t.Errorf("while the key is locked: %v, want errUnavailable", err)
	}
	other := it
	other.key = "other"
	if err := s.Save(t.Context(), []item{other})[0].err; err != nil {
		t.Errorf("meanwhile another key: %v", err)
	}
	if err := s.Save(t.Context(), []item{it})[0].err; err != nil {
		t.Errorf("Save: %v, want it done when the lock is gone", err)
	}
}

// Two batches with the same keys in opposite order, again and again, do not get in
// each other's way, and each key's mids rise in one chain.
func TestMySQLOppositeOrders(t *testing.T) {
	server := testenv.MariaDB(t)
	o := testMySQL(server, time.Now)
	o.Newest = 1000
	s := openTestMySQL(t, o)
	defer s.Close()
	const workers, each, keys = 8, 25, 6
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				var items []item
				for k := range keys {
					items = append(items, item{key: fmt.Sprint("k", k), msg: message(`1`, time.Now().Unix()+60, ""), pending: k%2 == 0})
				}
				if w%2 == 0 {
					slices.Reverse(items)
				}
				for i, got := range s.Save(t.Context(), items) {
					if got.err != nil {
						t.Errorf("%s: %v", items[i].key, got.err)
					}
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		r := s.Read(t.Context(), []query{{key: fmt.Sprint("k", k), limit: 9999}})[0]
		if r.err != nil || len(r.msgs) != workers*each {
			t.Errorf("k%d holds %d messages, %v; want %d", k, len(r.msgs), r.err, workers*each)
		}
	}
	same(t, "deadlocks", rows(t, dialMySQL(t, server), "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"), []string{"Innodb_deadlocks 0"})
}

// Who works on a key holds up nobody else, whose keys may lie right beside it.
func TestMySQLKeysAreApart(t *testing.T) {
	server := testenv.MariaDB(t)
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	save := func(keys ...string) {
		t.Helper()
		var items []item
		for _, key := range keys {
			items = append(items, item{key: key, msg: message(`1`, time.Now().Unix()+60, "")})
		}
		for i, got := range s.Save(t.Context(), items) {
			if got.err != nil {
				t.Errorf("%s: %v", items[i].key, got.err)
			}
		}
	}
	save("m", "z")
	err := s.on(t.Context(), []string{"m"}, func(tx *mysqlTx) error {
		if err := tx.delete("m"); err != nil {
			return err
		}
		save("l", "m0", "n", "z")
		return s.Delete(t.Context(), "n")
	})
	if err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range 40 {
				var keys []string
				for range 8 {
					keys = append(keys, fmt.Sprint(rnd.Uint64()))
				}
				save(keys...)
				if err := s.Delete(t.Context(), keys[0]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	same(t, "waits for a lock", rows(t, dialMySQL(t, server), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'"), []string{"Innodb_row_lock_waits 0"})
}

// An old daemon may be quicker with the mid that a save has chosen: no lock of ours
// keeps it out.
func TestMySQLOldDaemonIsQuicker(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	it := item{key: "k", msg: message(`"ours"`, time.Now().Unix()+60, "")}
	var got saved
	var taken []int64
	err := s.on(t.Context(), []string{"k"}, func(tx *mysqlTx) (err error) {
		if got, err = tx.save(it); err == nil && len(taken) < 2 {
			oldDaemon{t, db}.save("k", `"theirs"`, got.mid, it.msg.Expires)
			taken = append(taken, got.mid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Read(t.Context(), []query{{key: "k", limit: 9}})[0]
	same(t, "kept", mids(r.msgs), append(taken, got.mid))
	same(t, "prev", got.prev, taken[1])
}

// One key's trouble is not another's.
func TestMySQLErrorsAreTheItems(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	if _, err := db.Exec(`CREATE TRIGGER refuse BEFORE INSERT ON private_msg FOR EACH ROW
		BEGIN IF NEW.skey = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF; END`); err != nil {
		t.Fatal(err)
	}
	expire := time.Now().Unix() + 60
	items := []item{{key: "good"}, {key: "bad"}, {key: "good"}}
	for i := range items {
		items[i].msg = message(fmt.Sprint(i), expire, "")
	}
	for i, got := range s.Save(t.Context(), items) {
		if (got.err != nil) != (items[i].key == "bad") || errors.Is(got.err, errUnavailable) {
			t.Errorf("%s: %v", items[i].key, got.err)
		}
	}
	got := s.Read(t.Context(), []query{{key: "good", limit: 9}, {key: "bad", limit: 9}})
	same(t, "good", bodies(got[0].msgs), []string{"0", "2"})
	same(t, "bad", [2]int64{got[1].last, int64(len(got[1].msgs))}, [2]int64{})
}

// What can be read is not older than the last mid that is told with it, and what
// is missing in between was told as trimmed.
func TestMySQLReadsOneMoment(t *testing.T) {
	server := testenv.MariaDB(t)
	o := testMySQL(server, time.Now)
	o.Newest = 3
	s := openTestMySQL(t, o)
	defer s.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Save(t.Context(), []item{{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}})[0].err; err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 1000 {
		r := s.Read(t.Context(), []query{{key: "k", limit: 9}})[0]
		if r.err != nil {
			t.Fatal(r.err)
		}
		if n := len(r.msgs); n > 0 && (r.msgs[n-1].Mid != r.last || n == 3 && r.trimmed >= r.msgs[0].Mid) || n > 3 || n < 3 && r.trimmed > 0 {
			t.Fatalf("read %v with last %d and trimmed %d", mids(r.msgs), r.last, r.trimmed)
		}
	}
	close(stop)
	wg.Wait()
}

func TestMySQLPing(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	ping := func(o mysqlOptions) error {
		s, err := openMySQL(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return s.Ping(ctx)
	}
	o := testMySQL(server, time.Now)
	if err := ping(o); !errors.Is(err, errSchema) || !strings.Contains(err.Error(), "message -c FILE -migrate-schema") || !strings.Contains(err.Error(), "create table private_msg") {
		t.Errorf("no tables: %v, want the command that makes them", err)
	}
	openTestMySQL(t, o).Close()
	if err := ping(o); err != nil {
		t.Errorf("healthy: %v", err)
	}
	if _, err := db.Exec("ALTER TABLE private_msg DROP COLUMN nonce"); err != nil {
		t.Fatal(err)
	}
	if err := ping(o); !errors.Is(err, errSchema) || !strings.Contains(err.Error(), "ADD COLUMN nonce") {
		t.Errorf("a column is missing: %v", err)
	}
	for _, statement := range []string{"CREATE USER u IDENTIFIED BY 's3cret'", "GRANT ALL ON gopush.* TO u"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	openTestMySQL(t, o).Close()
	for _, test := range []struct {
		name string
		edit func(*MySQLSource)
		want string
	}{
		{"password", func(s *MySQLSource) { s.User, s.Password = "u", config.NewSecret([]byte("s3cret")) }, ""},
		{"unix socket", func(s *MySQLSource) { s.Network, s.Address = "unix", server.Socket() }, ""},
		{"wrong password", func(s *MySQLSource) { s.User, s.Password = "u", config.NewSecret([]byte("hunter2")) }, "Access denied"},
		{"no such database", func(s *MySQLSource) { s.Database = "other" }, "Unknown database"},
		{"nobody there", func(s *MySQLSource) { s.Address = testenv.FreeAddr(t) }, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := o
			test.edit(&o.Source)
			err := ping(o)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), o.Source.Address)):
				t.Errorf("%v, want %s at %s", err, test.want, o.Source.Address)
			case test.want != "" && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// What a database's settings break is said, once while it stays the same.
func TestMySQLWarnsOfSettings(t *testing.T) {
	server := testenv.MariaDB(t, "--log-bin=b", "--server-id=1", "--sync-binlog=0")
	db := dialMySQL(t, server)
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	said := func() string {
		t.Helper()
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		return *s.warned.Load()
	}
	for _, test := range []struct{ set, want string }{
		{"sync_binlog = 0", "sync_binlog is 0: a power loss"},
		{"sync_binlog = 1", ""},
		{"innodb_flush_log_at_trx_commit = 0", "is 0: a kill -9"},
		{"innodb_flush_log_at_trx_commit = 2", "is 2: a power loss"},
		{"innodb_flush_log_at_trx_commit = 1", ""},
		{"max_allowed_packet = 4194304", "larger messages fail"},
	} {
		if _, err := db.Exec("SET GLOBAL " + test.set); err != nil {
			t.Fatal(err)
		}
		o := testMySQL(server, time.Now)
		o.Durability = Fsync
		strict := openTestMySQL(t, o)
		err := strict.Ping(t.Context())
		strict.Close()
		if lossy := strings.Contains(test.want, "kill -9") || strings.Contains(test.want, "a power loss"); errors.Is(err, errSetup) != lossy ||
			lossy && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Ping with fsync: %v", test.set, err)
		}
		if got := said(); got != test.want && (test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%s: said %q, want %q", test.set, got, test.want)
		}
	}
	rows(t, db, "SET GLOBAL read_only = 1")
	if err := s.Ping(t.Context()); !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "name the primary") {
		t.Errorf("a replica: %v", err)
	}
	rows(t, db, "SET GLOBAL read_only = 0")
	// Saves work with a binary log, whatever its format is but STATEMENT.
	if err := s.Save(t.Context(), []item{{key: "k", msg: message(`1`, time.Now().Unix()+60, "")}})[0].err; err != nil {
		t.Errorf("Save: %v", err)
	}
}

// A connection serves many calls, long after the deadline of the last one, and is
// not used again once the database has closed it.
func TestMySQLKeepsConnections(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	read := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r := s.Read(ctx, []query{{key: "k", limit: 1}})[0]; r.err != nil {
			t.Fatal(r.err)
		}
		<-ctx.Done() // the next call comes after this one's deadline
	}
	connections := func() string { return rows(t, db, "SHOW GLOBAL STATUS LIKE 'Connections'")[0] }
	read()
	before := connections()
	for range 3 {
		read()
	}
	same(t, "connections", connections(), before)
	ids := rows(t, db, "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()")
	for _, id := range ids {
		if _, err := db.Exec("KILL CONNECTION " + id); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if connections() == before {
		t.Error("a connection that the database had closed was used again")
	}
}

// A sweep drops what has expired, in pieces, and nothing else.
func TestMySQLSweep(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	c := newClock()
	o := testMySQL(server, c.now)
	o.Newest = 1000
	s := openTestMySQL(t, o)
	defer s.Close()
	var items []item
	for i := range mysqlSweep + 200 {
		items = append(items, item{key: fmt.Sprint("k", i), msg: message(`1`, c.in(time.Minute), "")})
	}
	items = append(items, item{key: "long", msg: message(`1`, c.in(time.Hour), "id"), named: true, pending: true})
	for _, got := range s.Save(t.Context(), items) {
		if got.err != nil {
			t.Fatal(got.err)
		}
	}
	if err := s.AddToken(t.Context(), newToken(nil, "k", "a", 60, c.now())); err != nil {
		t.Fatal(err)
	}
	count := func(table string) string { return rows(t, db, "SELECT COUNT(*) FROM "+table)[0] }
	sweep := func(want bool) {
		t.Helper()
		if more, err := s.Sweep(t.Context()); err != nil || more != want {
			t.Fatalf("Sweep: %t, %v; want %t", more, err, want)
		}
	}
	sweep(false)
	same(t, "messages before", count("private_msg"), fmt.Sprint(len(items)))
	c.advance(time.Minute - time.Second)
	sweep(false)
	same(t, "messages a second before their end", count("private_msg"), fmt.Sprint(len(items)))
	c.advance(time.Second)
	sweep(true)
	same(t, "messages after one", count("private_msg"), "201")
	sweep(false)
	same(t, "messages after two", count("private_msg"), "1")
	same(t, "records", count("gopush_record"), fmt.Sprint(len(items)))
	same(t, "tokens", count("gopush_token"), "0")
	same(t, "ids", count("gopush_id"), "1")
	c.advance(idKept)
	sweep(false)
	same(t, "ids after their time", count("gopush_id"), "0")
	c.advance(recordKept - 2*time.Minute - idKept)
	sweep(false)
	same(t, "records of almost a week", count("gopush_record"), fmt.Sprint(len(items)))
	same(t, "pending", count("gopush_pending"), "0")
	c.advance(2 * time.Minute)
	sweep(true)
	sweep(false)
	same(t, "records after a week", rows(t, db, "SELECT skey FROM gopush_record"), []string{"long"})
}
