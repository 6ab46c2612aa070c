package web

import (
	"net/http/httptest"
	"testing"

	"gopush-cluster/internal/registry"
)

func TestNodes(t *testing.T) {
	info := registry.Info{RPC: []string{"10.0.0.2:6970"}}
	tests := []struct {
		name string
		node registry.Node
		want string
	}{
		{"a standby", registry.Node{Weight: 3, Last: info, Children: []registry.Child{{Name: "c1", Info: registry.Info{RPC: []string{"10.0.0.1:6970"}}}, {Name: "c2", Info: info}}},
			`"weight":3,"share":0,"active":"c1","standbys":1,"rpc":["10.0.0.1:6970"]`},
		{"away, at its last address", registry.Node{Weight: 1, Last: info},
			`"weight":1,"share":0,"active":"","standbys":0,"rpc":["10.0.0.2:6970"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, testConfig())
			defer f.close()
			tt.node.Name = "node2"
			f.cluster.nodes = map[string]registry.Node{"node2": tt.node}
			w := httptest.NewRecorder()
			f.route(internal, true).ServeHTTP(w, fromHere("GET", "/1/admin/nodes", ""))
			want := `{"data":{"nodes":[{"name":"node2",` + tt.want + `,"tcp":null,"ws":null,"alive":false}],"epoch":7},"ret":0}`
			if got := w.Body.String(); got != want {
				t.Errorf("answer:\n%s\nwant\n%s", got, want)
			}
		})
	}
	t.Run("an empty ring", func(t *testing.T) {
		f := newFixture(t, testConfig())
		defer f.close()
		f.cluster.nodes = nil
		w := httptest.NewRecorder()
		f.route(internal, true).ServeHTTP(w, fromHere("GET", "/1/admin/nodes", ""))
		if got, want := w.Body.String(), `{"data":{"nodes":[],"epoch":7},"ret":0}`; got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
	})
}
