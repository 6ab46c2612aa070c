package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"gopush-cluster/web/client"
)

func Example() {
	// In place of a web daemon.
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"ret":0}`)
	}))
	defer web.Close()

	c, err := client.New(client.Options{Admin: web.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = c.PushPrivate(ctx, "alice", json.RawMessage(`{"order":7}`), 24*time.Hour, client.ID("order-7-paid"))
	fmt.Println("stored:", err == nil)
	// Output: stored: true
}
