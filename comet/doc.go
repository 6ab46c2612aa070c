// Package comet holds the long connections of subscribers and pushes to them.
//
//	TCP ───────┐                    ┌─ table ─ shard ─ channel (one per key)
//	           ├▶ subscribe ─join──▶│                    │ sessions
//	WebSocket ─┘  owns? token?      │                    ▼
//	                                │   outbox ◀─ frames, in the order of mids
//	web ─rpc─▶ Service ─owns?─push─▶│                    ▲
//	                                └─▶ lane of the shard ─MessageRPC.Save─▶ message
//
// A channel is an actor without a goroutine: whoever brings an event runs the
// channel's turns until no event is left. What a turn touches needs no lock, no
// turn waits for anything, and a channel exists only while it has sessions or
// something under way.
//
// A push with an expiry is saved before it is sent, and while a save of its key
// is under way the key's further pushes wait and go together. The store decides
// the mid and tells the last one before it; when that is not the last one that
// was handed out here, somebody else saved in between, and the channel fetches
// the difference first (fill.go). So mids rise strictly on every socket, in the
// order in which the store gave them.
//
// What a channel and its sessions know of a key's stored messages, by mid:
//
//	upto <= known <= target     upto <= sent     target <= given
//
// upto: handed to this session. known: handed to all sessions that joined
// before. target: known to be stored; what lies between known and target waits or
// is being fetched. sent: the largest mid that this session's client has seen, and
// given: that anybody has, messages included that are not stored. (A session that
// catches up has upto below known; one that read ahead has it above, and skips
// what the others are still handed. See catchup.go.)
//
// Where to read on. A push: service.go, push.go, queue.go, save.go and lanes.go
// on its way to the store, hand.go, session.go and outbox.go on its way to the
// sockets; what delays it: base.go, fill.go, doubt.go. A client: tcp.go or
// websocket.go, subscribe.go, join.go. A change of the ring: away.go sends
// sessions away, move.go and forward.go serve those that have not gone yet.
//
// Writing never blocks a turn: what the kernel does not take at once waits in
// the session's outbox, and a session that falls too far behind is ended; its
// client comes back and fetches what it missed.
package comet
