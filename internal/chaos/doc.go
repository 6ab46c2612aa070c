// Package chaos runs a whole cluster, breaks it on purpose, and decides
// afterwards whether it kept its promises.
//
//	pushers ──HTTP──▶ web ─▶ comet ─▶ message ─▶ Redis      faults, by seed:
//	clients ◀─TCP, WebSocket, /1/msg/get─┘   ZooKeeper      schedule.go, faults_test.go
//	   │
//	   └─▶ history (JSON lines) ─▶ Check ─▶ violations of I1 … I9, each with its story
//
// The history holds what pushers and clients saw from outside: each push, its
// answer, each message on each socket and in each fetch, each fault. Check
// needs nothing else, so a kept history can be judged again, and the checker is
// tested with histories made by hand. The invariants are those of
// docs/reliability.md.
//
// The seed fixes which faults happen when and what is pushed where; how the
// machine interleaves them is its own, so a seed makes a failure likely to come
// again, not certain.
//
// Nothing here is shared with the daemons: a mistake made twice is still seen.
// What tests alone may import (the real servers) is in the _test files.
package chaos
