package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"gopush-cluster/internal/mid"
	"gopush-cluster/internal/testenv"
)

// migrate runs message -migrate-schema with the file of d.
func migrate(t testing.TB, d *daemon) (output string, code int) {
	t.Helper()
	out, err := exec.Command(testenv.Binary(t, "message"), "-c", d.path, "-migrate-schema").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(string(out), secretMark) {
		t.Errorf("a password is in the output:\n%s", out)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(out), code
}

// TestMySQL keeps messages on two MariaDB servers: they are prepared while the
// daemons wait, killed under load, and one hangs. Nothing acknowledged is lost, and
// the other shard's keys notice nothing.
func TestMySQL(t *testing.T) {
	t.Parallel()
	testenv.Binaries(t)
	const password = secretMark + "-mysql"
	servers := []*testenv.MariaDBServer{testenv.MariaDB(t), testenv.MariaDB(t)}
	dbs := make([]*sql.DB, len(servers))
	conf := settings{"storage.type": "mysql", "storage.store": maxStore, "mysql.durability": "fsync", `redis.source."shard1:1"`: nil}
	for i, server := range servers {
		db, err := sql.Open("mysql", "root@tcp("+server.Addr()+")/gopush")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		dbs[i] = db
		for _, statement := range []string{
			"CREATE USER gopush IDENTIFIED BY '" + password + "'",
			"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON gopush.* TO gopush", // as docs/operations.md says
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		conf[fmt.Sprintf(`mysql.source."shard%d:1"`, i+1)] = "gopush:" + password + "@tcp(" + server.Addr() + ")/gopush"
	}
	c := prepare(t, options{messages: 2, message: conf})
	for _, d := range c.daemons() {
		d.Launch()
	}

	// Nothing is there yet: the daemons say what to do, and wait.
	testenv.Eventually(t, 20*time.Second, func() error {
		err := c.messages[0].readyz()
		if err == nil || !strings.Contains(err.Error(), "message -c FILE -migrate-schema") {
			return fmt.Errorf("readyz: %v, want the command that prepares a database", err)
		}
		return nil
	})
	if out, code := migrate(t, c.messages[0]); code != 0 || strings.Count(out, "create table private_msg") != 2 {
		t.Fatalf("migrate: exit code %d\n%s", code, out)
	}
	if out, code := migrate(t, c.messages[1]); code != 0 || strings.Count(out, "nothing to do") != 2 {
		t.Errorf("migrate again: exit code %d\n%s", code, out)
	}
	c.ready()

	// An old daemon has stored something.
	now := time.Now()
	shardOf := func(key string) int {
		t.Helper()
		for i, db := range dbs {
			var n int
			if err := db.QueryRow("SELECT COUNT(*) FROM private_msg WHERE skey = ?", key).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				return i
			}
		}
		t.Fatalf("%s lies nowhere", key)
		return 0
	}
	c.mustPush("old", `"first"`)
	if _, err := dbs[shardOf("old")].Exec("INSERT INTO private_msg(skey,mid,ttl,msg,ctime,mtime) VALUES(?,?,?,?,?,?)",
		"old", mid.Of(now)+5*mid.Second, now.Unix()+600, `{ "by" : "an old daemon" }`, now, now); err != nil {
		t.Fatal(err)
	}
	c.mustPush("old", `"last"`)
	var got []string
	for _, m := range c.mustFetch("old", 0) {
		got = append(got, m.msg)
	}
	if want := []string{`"first"`, `{"by":"an old daemon"}`, `"last"`}; !slices.Equal(got, want) {
		t.Errorf("fetched %q, want %q", got, want)
	}

	book := newLedger()
	keys := make([][]string, len(servers)) // by shard
	for i := 0; len(keys[0]) < 2 || len(keys[1]) < 2; i++ {
		key := fmt.Sprintf("mysql-%d", i)
		if ret, err := c.try(book, c.webs[0], key, `"before"`); ret != 0 || err != nil {
			t.Fatalf("push: ret %d, %v", ret, err)
		}
		s := shardOf(key)
		keys[s] = append(keys[s], key)
	}
	client := c.subscribe(keys[1][0], "", "1.0")

	stop := c.load(book, "load")
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		servers[0].Kill()
		servers[0].Start()
	}
	servers[0].Pause()
	begun := time.Now()
	for i := 0; time.Since(begun) < 3*time.Second; i++ {
		body := fmt.Sprintf(`"beside %d"`, i)
		if ret, err := c.try(book, c.webs[0], keys[1][0], body); ret != 0 || err != nil {
			t.Fatalf("push to the other shard: ret %d, %v", ret, err)
		}
		if m := client.message(); m.msg != body {
			t.Fatalf("live %v, want %s", m, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ret, err := c.try(book, c.webs[0], keys[0][0], `"hung"`); ret != internalError || err != nil {
		t.Errorf("push to the hung shard: ret %d, %v, want %d", ret, err, internalError)
	}
	servers[0].Resume()
	stop()
	c.ready()
	c.longRun(book)
	book.check(c)

	// The tool reports a database that is away.
	servers[1].Kill()
	if out, code := migrate(t, c.messages[0]); code != 1 || !strings.Contains(out, "shard2:1") || !strings.Contains(out, "nothing to do") {
		t.Errorf("migrate with one database away: exit code %d\n%s", code, out)
	}
	c.messages[0].configure(t, settings{"storage.type": "redis"})
	if out, code := migrate(t, c.messages[0]); code != 2 || !strings.Contains(out, "storage.type") {
		t.Errorf("migrate for Redis: exit code %d\n%s", code, out)
	}
}
