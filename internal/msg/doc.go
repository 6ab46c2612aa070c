// Package msg is what a message is between the daemons: canonical JSON, a mid,
// an expiry and a nonce, and the one form in which a store keeps it.
//
//	pushed JSON ──Canonical──▶ Message.Body ──Member──▶ store ──ParseMember──▶ Message
//
// Canonical is applied once, where a message enters (web, or the push call of
// an old daemon), and again when a member that an old daemon stored is read.
// Live and offline therefore render the same bytes.
package msg
