package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"gopush-cluster/internal/testenv"
)

// TestRing registers comets that do not exist, as the vectors say, and asks a
// running web where each key lies.
func TestRing(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../ketama/testdata/ketama.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Nodes map[string]int
		Keys  map[string]string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("vectors: %v", err)
	}
	c := prepare(t, options{nodes: []string{}})
	web := c.webs[0]
	web.Launch()
	conn := c.dialZK()
	for _, v := range vectors {
		t.Run(fmt.Sprint(v.Nodes), func(t *testing.T) {
			address := make(map[string]string) // node → where it says it is
			for i, node := range slices.Sorted(maps.Keys(v.Nodes)) {
				address[node] = fmt.Sprintf("127.0.0.1:%d", i+1)
				register(t, conn, node, fmt.Sprintf(`{"rpc":["127.0.0.2:%d"],"tcp":["%s"],"ws":["%s"],"weight":%d}`, i+1, address[node], address[node], v.Nodes[node]))
			}
			testenv.Eventually(t, 15*time.Second, func() error {
				for key, node := range v.Keys {
					if key == "" {
						continue // no subscriber's key
					}
					r, err := exchange(web.web, "GET /1/server/get?p=2&k="+url.QueryEscape(key)+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
					if err != nil {
						return err
					}
					if want := fmt.Sprintf(`{"data":{"server":"%s"},"ret":0}`, address[node]); r.body != want {
						return fmt.Errorf("%q lies at %s, want %s of %s", key, r.body, want, node)
					}
				}
				return nil
			})
		})
	}
}

// register puts node with one child into ZooKeeper until the test ends.
func register(t *testing.T, conn *zk.Conn, node, data string) {
	t.Helper()
	if _, err := conn.Create(cometPath, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		t.Fatal(err)
	}
	parent := cometPath + "/" + node
	if _, err := conn.Create(parent, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	child, err := conn.Create(parent+"/", []byte(data), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range []string{child, parent} {
			if err := conn.Delete(p, -1); err != nil {
				t.Errorf("delete %s: %v", p, err)
			}
		}
	})
}
