// Package client subscribes to a key as a well-behaved client app does
// (docs/protocol.md, "Writing a client"):
//
//	       ┌── back-off ◀── cut, -n, no heartbeat answer ◀──┐
//	       ▼                                                │
//	/1/server/get ─▶ connect ─▶ sub, after mid ─▶ +h ─▶ messages ─▶ deliver
//
// It resumes: it tells the comet the largest mid it has seen, and gets what was
// stored after that and then what is pushed, with nothing in between left out.
// Where messages are not kept any more, Options.OnGap is told. A cut is healed
// by connecting again. Messages are delivered once, in the order of their mids.
// Those that are not stored reach only who is connected, here as everywhere.
//
// A refusal that trying again cannot heal ends the subscription: ErrParam,
// ErrAuth, ErrNoChannel.
package client
