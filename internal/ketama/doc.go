// Package ketama places keys on nodes by consistent hashing: the same nodes
// and weights give the same ring in every daemon, and a node that comes or goes
// moves only the keys it gains or leaves (docs/protocol.md, "Ring").
//
//	0                                                          2^32
//	├──•node1:17──────•node2:3────────•node1:4───•node2:200──────┤
//	             ▲ SHA-1(key)
//	             └──────▶ the first tick at or after it: node2
//
// A node of weight w has base·w ticks. Both ticks and keys lie at the last 4
// bytes, big-endian, of a SHA-1. SHA-1 spreads keys here, it guards nothing.
//
// A ring is built once and never changes, so readers need no lock; who holds a
// new view of the cluster builds a new ring and swaps the pointer.
package ketama
