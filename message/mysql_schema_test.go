package message

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"gopush-cluster/internal/config"
	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/testenv"
)

// mysqlConfig returns a configuration with shards in a database of each server.
func mysqlConfig(t *testing.T, database string, servers ...*testenv.MariaDBServer) Config {
	cfg := testConfig(t)
	cfg.Storage.Type = MySQL
	cfg.MySQL.Source = make(map[string]MySQLSource)
	for i, server := range servers {
		src := mysqlSource(server)
		src.Database = database
		cfg.MySQL.Source[fmt.Sprintf("node%d:1", i+1)] = src
	}
	return cfg
}

// migrate runs MigrateSchema and returns what it said.
func migrate(t *testing.T, cfg Config) []string {
	t.Helper()
	var said []string
	err := MigrateSchema(t.Context(), cfg, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestMigrateEmptyDatabase(t *testing.T) {
	server := testenv.MariaDB(t)
	cfg := mysqlConfig(t, "gopush", server)
	at := "node1:1 (" + cfg.MySQL.Source["node1:1"].place() + "): "
	same(t, "first", migrate(t, cfg), []string{
		at + "create table private_msg", at + "create table gopush_record", at + "create table gopush_id",
		at + "create table gopush_pending", at + "create table gopush_token", at + "done",
	})
	same(t, "second", migrate(t, cfg), []string{at + "nothing to do"})
}

// Two machines may do it at once, and a shard that fails holds up no other.
func TestMigrateTogether(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	if _, err := db.Exec("CREATE DATABASE second"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(oldTable("varchar(64) CHARACTER SET utf8", "blob")); err != nil {
		t.Fatal(err)
	}
	cfg := mysqlConfig(t, "gopush", server, server, server)
	for node, name := range map[string]string{"node2:1": "missing", "node3:1": "second"} {
		src := cfg.MySQL.Source[node]
		src.Database = name
		cfg.MySQL.Source[node] = src
	}
	var mu sync.Mutex
	var said []string
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := MigrateSchema(t.Context(), cfg, func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, fmt.Sprintf(format, args...))
			})
			if err == nil || !strings.Contains(err.Error(), "node2:1") || !strings.Contains(err.Error(), "Unknown database 'missing'") || strings.Contains(err.Error(), "node3:1") {
				t.Errorf("MigrateSchema: %v, want an error of node2 alone", err)
			}
		})
	}
	wg.Wait()
	count := make(map[string]int)
	for _, line := range said {
		_, what, _ := strings.Cut(line, "): ")
		what, _, _ = strings.Cut(what, ":")
		count[what]++
	}
	same(t, "steps", count, map[string]int{
		"create table private_msg": 1, "change table private_msg": 1, "create table gopush_record": 2, "create table gopush_id": 2,
		"create table gopush_pending": 2, "create table gopush_token": 2, "done": 2, "nothing to do": 6,
	})
	cfg.Storage.Type = Redis
	if err := MigrateSchema(t.Context(), cfg, nil); !errors.As(err, new(*config.Error)) {
		t.Errorf("on Redis: %v, want a configuration error", err)
	}
}

// oldTable returns a private_msg as old daemons have it, but for the types given.
func oldTable(skey, msg string) string {
	return `CREATE TABLE private_msg (
		id int unsigned NOT NULL AUTO_INCREMENT,
		skey ` + skey + ` NOT NULL,
		mid bigint unsigned NOT NULL,
		ttl bigint NOT NULL,
		msg ` + msg + ` NOT NULL,
		ctime timestamp NOT NULL DEFAULT '2010-01-01 00:00:00',
		mtime timestamp NOT NULL DEFAULT '2010-01-01 00:00:00',
		PRIMARY KEY (id), UNIQUE KEY u (skey, mid), KEY t (ttl)) DEFAULT CHARSET=latin1`
}

// oldDaemon speaks to a private_msg as an old daemon does.
type oldDaemon struct {
	t  *testing.T
	db *sql.DB
}

func (o oldDaemon) save(key string, body, mid, ttl any) {
	o.t.Helper()
	if _, err := o.db.Exec("INSERT INTO private_msg(skey,mid,ttl,msg,ctime,mtime) VALUES(?,?,?,?,?,?)",
		key, mid, ttl, body, time.Now(), time.Now()); err != nil {
		o.t.Fatalf("an old daemon's save: %v", err)
	}
}

func (o oldDaemon) get(key string, after int64) []string {
	o.t.Helper()
	return rows(o.t, o.db, "SELECT mid, ttl, msg FROM private_msg WHERE skey = ? AND mid > ? ORDER BY mid", key, after)
}

// Whatever the table of an old daemon looks like, what is in it is served, and both
// go on with it.
func TestMigrateOldTable(t *testing.T) {
	server := testenv.MariaDB(t)
	for i, test := range []struct{ name, skey, msg, more string }{
		{"as it was", "varchar(64) CHARACTER SET utf8", "blob", ""},
		{"keys in another character set", "varchar(64) CHARACTER SET latin1", "text CHARACTER SET latin1", ""},
		{"MyISAM", "varchar(64) CHARACTER SET utf8mb4", "mediumblob", "ALTER TABLE private_msg ENGINE=MyISAM"},
		{"no indexes", "varbinary(64)", "longtext CHARACTER SET utf8mb4", "ALTER TABLE private_msg DROP KEY u, DROP KEY t"},
		{"half of ours", "varbinary(255)", "longblob", "ALTER TABLE private_msg ADD COLUMN nonce VARBINARY(32) NOT NULL DEFAULT ''"},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprint("old", i)
			if _, err := dialMySQL(t, server).Exec("CREATE DATABASE " + name); err != nil {
				t.Fatal(err)
			}
			cfg := mysqlConfig(t, name, server)
			o := testMySQL(server, time.Now)
			o.Source.Database = name
			c, err := o.connector()
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(c)
			defer db.Close()
			old := oldDaemon{t, db}
			rows(t, db, oldTable(test.skey, test.msg))
			if test.more != "" {
				rows(t, db, test.more)
			}
			now := time.Now()
			ttl, id := now.Unix()+600, mid.Of(now)
			old.save("clé", ` { "a" : "é<" } `, id, ttl)
			old.save("clé", `2`, id+1, ttl)
			old.save("k", `3`, id, ttl)
			before := rows(t, db, "SELECT id, mid, ttl FROM private_msg ORDER BY id")

			said := migrate(t, cfg)
			if !strings.Contains(strings.Join(said, "\n"), "change table private_msg") {
				t.Errorf("said %q", said)
			}
			if again := migrate(t, cfg); len(again) != 1 || !strings.Contains(again[0], "nothing to do") {
				t.Errorf("again: %q", again)
			}
			same(t, "rows", rows(t, db, "SELECT id, mid, ttl FROM private_msg ORDER BY id"), before)
			s, err := openMySQL(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			got := s.Read(t.Context(), []query{{key: "clé", limit: 9}, {key: "CLÉ", limit: 9}})
			same(t, "read", bodies(got[0].msgs), []string{`{"a":"é\u003c"}`, `2`})
			same(t, "mids", mids(got[0].msgs), []int64{id, id + 1})
			same(t, "last", got[0].last, id+1)
			same(t, "a key that a collation takes for it", len(got[1].msgs), 0)

			// Side by side from here on.
			ours := s.Save(t.Context(), []item{{key: "clé", msg: message(`{"x":"y"}`, ttl, "n")}})[0]
			if ours.err != nil || ours.prev != id+1 {
				t.Fatalf("Save: %+v, want prev %d", ours, id+1)
			}
			same(t, "an old daemon reads ours", old.get("clé", id+1), []string{fmt.Sprintf(`%d %d {"x":"y"}`, ours.mid, ttl)})
			old.save("clé", `"later"`, ours.mid+3, ttl)
			last := s.Save(t.Context(), []item{{key: "clé", msg: message(`4`, ttl, "")}})[0]
			same(t, "prev after the old daemon", last.prev, ours.mid+3)
			if _, err := db.Exec("DELETE FROM private_msg WHERE skey=?", "clé"); err != nil {
				t.Fatal(err)
			}
			same(t, "last after it has deleted", s.Read(t.Context(), []query{{key: "clé", limit: 9}})[0].last, last.mid)
			big := item{key: strings.Repeat("k", 255), msg: message(`"`+strings.Repeat("x", 1<<20)+`"`, ttl, "")}
			if err := s.Save(t.Context(), []item{big})[0].err; err != nil {
				t.Errorf("a long key and a large body: %v", err)
			}
		})
	}
}

// What old daemons and people have put into the table.
func TestMySQLOldRows(t *testing.T) {
	server := testenv.MariaDB(t)
	db := dialMySQL(t, server)
	rows(t, db, oldTable("varchar(64) CHARACTER SET utf8", "blob"))
	rows(t, db, "ALTER TABLE private_msg MODIFY ttl bigint unsigned NOT NULL")
	s := openTestMySQL(t, testMySQL(server, time.Now))
	defer s.Close()
	old := oldDaemon{t, db}
	now := time.Now()
	ttl, clock := now.Unix()+600, mid.Of(now)
	old.save("k", `"low"`, 5, ttl)
	old.save("k", `"none"`, 0, ttl)
	old.save("k", `{"a":"<b>"}`, clock, ttl)
	old.save("k", `"gone"`, clock+16, now.Unix()-1)
	old.save("k", `not JSON`, clock+32, ttl)
	old.save("k", []byte("\"\xff\""), clock+33, ttl)
	old.save("k", ``, clock+34, ttl)
	old.save("k", `"far"`, int64(9223372036854775807), ttl)
	old.save("k", `"past the end"`, uint64(1<<63), ttl)
	old.save("k", `"for ever"`, clock+35, ^uint64(0))
	old.save("k", `"never"`, clock+36, 0)

	read := func(after int64) found {
		t.Helper()
		r := s.Read(t.Context(), []query{{key: "k", after: after, limit: 1000}})[0]
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r
	}
	got := read(0)
	same(t, "bodies", bodies(got.msgs), []string{`"low"`, `{"a":"\u003cb\u003e"}`, `"for ever"`, `"far"`})
	same(t, "last", got.last, clock+36)
	same(t, "the end of time", got.msgs[2].Expires, maxExpiry)
	same(t, "the largest of all", got.msgs[3].Mid, int64(9223372036854775807))

	save := func(body string) saved {
		t.Helper()
		r := s.Save(t.Context(), []item{{key: "k", msg: message(body, ttl, "")}})[0]
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r
	}
	ours := save(`"ours"`)
	same(t, "prev", ours.prev, clock+36)
	put := item{key: "k", msg: message(`{"a":"\u003cb\u003e"}`, ttl, "")}
	put.msg.Mid = clock
	if err := s.Put(t.Context(), []item{put})[0]; err != nil {
		t.Errorf("the same message again: %v", err)
	}
	put.msg.Mid = clock + 32
	if err := s.Put(t.Context(), []item{put})[0]; !errors.Is(err, errMidTaken) {
		t.Errorf("over one that is no JSON: %v, want errMidTaken", err)
	}
	// They make room like ours.
	for i := range keepForTest {
		save(fmt.Sprint(i))
	}
	got = read(0)
	same(t, "kept", len(got.msgs), keepForTest+1) // and the one far ahead
	same(t, "trimmed", got.trimmed, ours.mid)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	same(t, "deleted", rows(t, db, "SELECT mid FROM private_msg"), nil)

	old.save("new", `1`, clock+800, ttl)
	if err := s.Delete(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	same(t, "last of a deleted key without a record", s.Read(t.Context(), []query{{key: "new"}})[0].last, clock+800)

	// An old daemon keeps any number for a key. Each save drops some of them.
	rows(t, db, "INSERT INTO private_msg (skey, mid, ttl, msg, ctime, mtime) SELECT 'many', seq, ?, '1', NOW(), NOW() FROM seq_1_to_70000", ttl)
	var last int64
	for range 3 {
		r := s.Save(t.Context(), []item{{key: "many", msg: message(`2`, ttl, "")}})[0]
		if r.err != nil || last == 0 && r.prev != 70000 || last > 0 && r.prev != last {
			t.Fatalf("Save: %+v after %d", r, last)
		}
		last = r.mid
	}
	r := s.Read(t.Context(), []query{{key: "many", after: 69999, limit: 1000}})[0]
	same(t, "the newest are kept", len(r.msgs), 4)
	same(t, "trimmed", r.trimmed, 70000-int64(keepForTest)+3)
	same(t, "left of them", rows(t, db, "SELECT COUNT(*) FROM private_msg"), []string{fmt.Sprint(70000 + 3 - 3*(mysqlHeldKey+1-keepForTest))})
	rows(t, db, "DELETE FROM private_msg WHERE mid < 40000")
	for range 3 { // few enough to be read all at once
		if r := s.Save(t.Context(), []item{{key: "many", msg: message(`2`, ttl, "")}})[0]; r.err != nil {
			t.Fatal(r.err)
		}
	}
	same(t, "left of them then", rows(t, db, "SELECT COUNT(*) FROM private_msg"), []string{fmt.Sprint(70000 - 39999 + 6 - 3*(mysqlHeldKey+1-keepForTest) - 3*mysqlDoomed)})
}

// A row is served as canonical JSON or not at all, whoever wrote it.
func FuzzRow(f *testing.F) {
	f.Add(int64(80), int64(1), []byte(`{"a":"<"}`), []byte("n-1"))
	f.Add(int64(-1), int64(-1), []byte("\"\xff\""), []byte("\x00"))
	f.Add(int64(0), int64(0), []byte(nil), []byte(nil))
	f.Add(int64(1), int64(1), []byte(` [ 1 , "\u2028" ] `), []byte(strings.Repeat("n", 65)))
	f.Fuzz(func(t *testing.T, id, expires int64, body, nonce []byte) {
		m, ok := parseRow(id, expires, body, nonce)
		if valid := json.Valid(body) && utf8.Valid(body); ok != valid {
			t.Fatalf("%q is served: %t; it is JSON: %t", body, ok, valid)
		}
		if !ok {
			return
		}
		if m.Mid != id || m.Expires != expires || len(m.Body) > 6*len(body) {
			t.Fatalf("%+v of %d, %d, %q", m, id, expires, body)
		}
		again, ok := parseRow(id, expires, m.Body, []byte(m.Nonce))
		if !ok || string(again.Body) != string(m.Body) || again.Nonce != m.Nonce {
			t.Fatalf("%q became %q, then %q", body, m.Body, again.Body)
		}
	})
}
