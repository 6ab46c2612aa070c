package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopush-cluster/internal/testenv"
)

// standalone is gopush standalone, and the cluster that it is.
type standalone struct {
	*cluster
	process *testenv.Process
	data    string
	env     []string // of the gopush commands: where they remember
}

// configureStandalone writes a file with ports of its own into dir.
func configureStandalone(t *testing.T, dir string) *daemon {
	t.Helper()
	d := &daemon{
		kind: "standalone", path: filepath.Join(dir, "standalone.toml"),
		tcp: testenv.FreeAddr(t), ws: testenv.FreeAddr(t), web: testenv.FreeAddr(t), admin: testenv.FreeAddr(t), stat: testenv.FreeAddr(t),
	}
	d.conf = settings{
		"comet.tcp.bind": []string{d.tcp}, "comet.websocket.bind": []string{d.ws}, "comet.rpc.bind": []string{testenv.FreeAddr(t)},
		"comet.stat.bind": []string{testenv.FreeAddr(t)}, "comet.pprof.bind": []string{},
		"web.http.bind": []string{d.web}, "web.admin.bind": []string{d.admin},
		"web.stat.bind": []string{d.stat}, "web.pprof.bind": []string{},
		"message.rpc.bind":  []string{testenv.FreeAddr(t)},
		"message.stat.bind": []string{testenv.FreeAddr(t)}, "message.pprof.bind": []string{},
		"comet.log.v": 2,
	}
	d.conf.write(t, d.path)
	return d
}

// startStandalone starts one on ports of its own.
func startStandalone(t *testing.T) *standalone {
	t.Helper()
	bin := testenv.Binary(t, "gopush")
	dir := t.TempDir()
	d := configureStandalone(t, dir)
	s := &standalone{data: filepath.Join(dir, "data"), env: []string{"XDG_STATE_HOME=" + t.TempDir(), "HOME="}}
	d.Process = testenv.Command{
		Name: "standalone", Dir: dir, Ready: d.readyz,
		Args: []string{bin, "standalone", "--data", s.data, "-c", d.path},
	}.New(t)
	s.process = d.Process
	s.cluster = &cluster{t: t, comets: []*daemon{d}, webs: []*daemon{d}, http: newHTTPClient(t)}
	t.Cleanup(s.searchLogs)
	s.process.Start()
	return s
}

// searchLogs looks into the files of the log too.
func (s *standalone) searchLogs() {
	s.cluster.searchLogs()
	err := filepath.WalkDir(filepath.Join(s.data, "log"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, mark := range []string{tokenMark, payloadMark, secretMark} {
			if bytes.Contains(raw, []byte(mark)) {
				s.t.Errorf("%s holds %s", path, mark)
			}
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
}

// command prepares a gopush command that talks to s.
func (s *standalone) command(args ...string) []string {
	at := []string{"--web", "http://" + s.webs[0].web, "--admin", "http://" + s.webs[0].admin}
	return append(append([]string{testenv.Binary(s.t, "gopush")}, args...), at...)
}

// gopush runs a gopush command to its end and wants exit code 0. It returns
// what it printed.
func (s *standalone) gopush(args ...string) string {
	s.t.Helper()
	p := testenv.Command{Name: "gopush", Args: s.command(args...), Env: s.env}.New(s.t)
	p.Launch()
	if code := p.WaitExit(patience); code != 0 {
		s.t.Fatalf("gopush %q: exit code %d\n%s", args, code, p.Output())
	}
	return p.Output()
}

// TestStandalone does what the README shows, and then loses its process.
func TestStandalone(t *testing.T) {
	t.Parallel()
	s := startStandalone(t)
	message := func(n int) string { return fmt.Sprintf(`{"%s":%d}`, payloadMark, n) }

	// Subscribe, push, see the message.
	sub := testenv.Command{Name: "sub", Args: s.command("sub", "alice"), Env: s.env}.New(t)
	sub.Launch()
	s.gopush("push", "alice", message(1))
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(sub.Output(), message(1)+"\n") {
			return fmt.Errorf("sub shows %q, want %s", sub.Output(), message(1))
		}
		return nil
	})
	s.gopush("push", "alice", message(2)) // to a socket that is there for sure
	testenv.Eventually(t, patience, func() error {
		if !strings.Contains(sub.Output(), message(2)+"\n") {
			return fmt.Errorf("sub shows %q, want %s", sub.Output(), message(2))
		}
		return nil
	})
	if code := sub.Stop(); code != 0 {
		t.Errorf("sub: exit code %d, want 0", code)
	}
	if n := strings.Count(sub.Output(), payloadMark); n != 2 {
		t.Errorf("sub showed %d messages, want 2:\n%s", n, sub.Output())
	}

	// Stop, push three more, subscribe again: exactly those three, in order.
	for n := 3; n <= 5; n++ {
		s.gopush("push", "alice", message(n))
	}
	missed := message(3) + "\n" + message(4) + "\n" + message(5) + "\n"
	again := testenv.Command{Name: "again", Args: s.command("sub", "alice"), Env: s.env}.New(t)
	again.Launch()
	testenv.Eventually(t, patience, func() error {
		if n := strings.Count(again.Output(), payloadMark); n < 3 {
			return fmt.Errorf("sub shows %d messages, want 3", n)
		}
		return nil
	})
	s.subscribe("alice").wantSilence(200 * time.Millisecond)
	again.Stop()
	shown := again.Output()
	if i := strings.Index(shown, message(3)); i < 0 || shown[i:] != missed {
		t.Errorf("sub showed\n%s\nwant, at its end,\n%s", shown, missed)
	}

	kept := s.mustFetch("alice", 0)
	if len(kept) != 5 || kept[4].msg != message(5) {
		t.Fatalf("kept %v, want five", kept)
	}
	s.gopush("token", "add", "alice", tokenMark)

	// A restart and a kill -9 lose nothing.
	for _, end := range []func(){
		func() {
			if code := s.process.Stop(); code != 0 {
				t.Errorf("standalone: exit code %d, want 0", code)
			}
		},
		s.process.Kill,
	} {
		end()
		s.process.Start()
		if after := s.mustFetch("alice", 0); !slices.Equal(after, kept) {
			t.Errorf("after the restart: %v, want %v", after, kept)
		}
		cl := s.subscribe("alice", "", "1.0")
		s.mustPush("alice", message(len(kept)+1))
		live := cl.message()
		if live.msg != message(len(kept)+1) || live.mid <= kept[len(kept)-1].mid {
			t.Errorf("live %v after %v", live, kept[len(kept)-1])
		}
		kept = append(kept, live)
	}

	var nodes []struct{ Share float64 }
	if out := s.gopush("nodes", "-o", "json"); json.Unmarshal([]byte(out), &nodes) != nil || len(nodes) != 1 || nodes[0].Share != 1 {
		t.Errorf("nodes: %s, want one that has everything", out)
	}
	if out := s.gopush("offline", "alice"); strings.Count(out, payloadMark) != 7 {
		t.Errorf("offline:\n%s\nwant seven messages", out)
	}
}

// TestSubComesBack proves that sub survives the end of its server and then shows
// what came meanwhile, once and in order.
func TestSubComesBack(t *testing.T) {
	t.Parallel()
	s := startStandalone(t)
	for _, args := range [][]string{{"sub", "bob"}, {"sub", "carol", "--ws"}} {
		sub := testenv.Command{Name: "sub-" + args[1], Args: s.command(args...), Env: s.env}.New(t)
		sub.Launch()
		want := ""
		for n := range 3 {
			line := fmt.Sprintf("\"%s %d\"\n", args[1], n)
			want += line
			if n == 1 {
				s.process.Kill()
				s.process.Start()
			}
			s.mustPush(args[1], strings.TrimSpace(line))
			testenv.Eventually(t, 20*time.Second, func() error {
				if !strings.Contains(sub.Output(), line) {
					return fmt.Errorf("sub shows %q, want %q", sub.Output(), line)
				}
				return nil
			})
		}
		sub.Stop()
		got := ""
		for line := range strings.Lines(sub.Output()) {
			if strings.HasPrefix(line, `"`) {
				got += line
			}
		}
		if got != want {
			t.Errorf("sub showed\n%s\nwant\n%s", got, want)
		}
	}
}

// TestGopushErrors proves that the command says what is wrong, with code 1 when
// it could not and 2 when it was asked wrongly.
func TestGopushErrors(t *testing.T) {
	t.Parallel()
	nobody := "http://" + testenv.FreeAddr(t)
	busy := startStandalone(t)
	second := configureStandalone(t, t.TempDir()) // with other ports, and the same data
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no such command", []string{"pusch"}, 2, "pusch"},
		{"no such flag", []string{"push", "--nonsense", "a", "1"}, 2, "nonsense"},
		{"missing argument", []string{"sub"}, 2, "sub"},
		{"no JSON", []string{"push", "alice", "hello"}, 2, "--text"},
		{"nobody there", []string{"push", "alice", "1", "--admin", nobody}, 1, "gopush standalone"},
		{"nobody to subscribe at", []string{"sub", "alice", "--web", nobody, "--timeout", "1s"}, 1, "gopush standalone"},
		{"data in use", []string{"standalone", "--data", busy.data, "-c", second.path}, 1, "--data"},
		{"no such file", []string{"standalone", "--data", t.TempDir(), "-c", "/nowhere.toml"}, 2, "/nowhere.toml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testenv.Command{Name: "gopush", Args: append([]string{testenv.Binary(t, "gopush")}, tt.args...), Env: busy.env}.New(t)
			p.Launch()
			if code := p.WaitExit(patience); code != tt.code || !strings.Contains(p.Output(), tt.want) {
				t.Errorf("exit code %d, want %d and %q in\n%s", code, tt.code, tt.want, p.Output())
			}
		})
	}
}
