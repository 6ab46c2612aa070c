// Package e2e holds the tests of the whole cluster: comet, web and message as
// processes, a real ZooKeeper and real Redis servers on loopback.
//
//	test ──bytes──▶ comet ◀─┐
//	test ──HTTP───▶ web   ──┼─ ZooKeeper      every daemon of a cluster is a process
//	test ──gob────▶ message ┘─ Redis × N      that a test can kill, freeze and restart
//
// The tests speak the bytes of docs/protocol.md with clients of their own and
// share no code with the daemons, so that a mistake made twice is still seen.
// Whatever a cluster prints is searched, when it ends, for the tokens and
// payloads of the run: none may be there.
//
// With -short all of them are skipped.
package e2e
