// Package peer is the language between the daemons: the arguments of their
// calls, a typed client for each kind of daemon, and the error codes.
//
//	web   ──Comet.Push, New, Close──▶ comet
//	web   ──Message.Save, Read, …──▶ message
//	comet ──Message.Save, Read, …──▶ message
//
// A call of ours goes out under its new name. Where the daemon at the other end
// is an old one, which has never heard of it, the client falls back to the calls
// of the contract (old.go), so that one daemon of a running cluster can be
// replaced at a time. The promises that need mids and nonces decided by the
// store hold once all daemons are ours.
//
// net/rpc flattens errors to text; this package alone knows those texts and
// turns them back into the sentinels of code.go.
package peer
