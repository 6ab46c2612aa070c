// Package client is for back-ends: it pushes messages, lets keys connect, and
// reads what is kept, through web's HTTP API (docs/protocol.md, "HTTP").
//
//	c, err := client.New(client.Options{Admin: "http://localhost:8091"})
//	err = c.PushPrivate(ctx, "alice", json.RawMessage(`{"hi":1}`), time.Hour)
//
// A push that returns nil with an expiry is stored. After an error it may have
// been stored all the same, unless the error is [ErrParam]; to try again
// without the message coming twice, give both calls the same [ID].
//
// A Client repeats nothing by itself and knows one web. Errors hold neither
// tokens nor secrets nor messages.
package client
