// Package rpcnet carries the calls between the daemons: net/rpc with gob, as
// daemons in the field speak it, with the limits and deadlines that net/rpc
// lacks, and with errors that say whether a call can have been executed.
//
//	Client ─ 2 connections ─▶ one goroutine reads ─▶ pending calls
//	   │  lazy dial, back-off    one writes, many calls in one write
//	   ▼
//	[secret handshake] ─▶ gob frames, bounded ─▶ Server ─▶ net/rpc ─▶ handler
//
// A stock rpc.Dial client can call a [Server] and a [Client] can call a stock
// server: what is ours is the handshake before the first frame, and only peers
// that are loopback or allowed go without.
//
// The handshake proves that both ends know the shared secret. It neither
// encrypts nor signs what follows; for that, put the daemons into a network of
// their own.
package rpcnet
