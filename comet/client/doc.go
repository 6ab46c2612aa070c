// Package client subscribes to a key as a well-behaved client app does
// (docs/protocol.md, "Writing a client"):
//
//	       ┌── back-off ◀── cut, -n, no heartbeat answer ◀──────────────┐
//	       ▼                                                            │
//	/1/server/get ─▶ connect ─▶ sub ─▶ +h ─┬─▶ /1/msg/get after mid ─┐  │
//	                                       │                         ├──┴▶ deliver
//	                                       └─▶ live messages, held ──┘
//
// Messages are delivered once, in the order of their mids. Live ones wait until
// what was missed has been fetched, so that none of those is overtaken and then
// dropped as old. A cut is healed by connecting again; what the store kept
// meanwhile is fetched. Messages that are not stored reach only who is
// connected, here as everywhere.
//
// A refusal that trying again cannot heal ends the subscription: ErrParam,
// ErrAuth, ErrNoChannel.
package client
