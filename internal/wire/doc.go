// Package wire is the bytes between comet and its clients: the sub command, the
// replies, the message body, and the WebSocket frames around them
// (docs/protocol.md, "Comet over TCP", "Comet over WebSocket", "Message body").
//
//	             TCP                              WebSocket
//	client ─▶ ParseCommand ─▶ ParseSub ─▶ Sub ◀─ SubFromQuery ◀─ GET /sub?key=…
//	          h                                   ParseFrame ◀─ masked frames
//	client ◀─ Reply, Body.AppendTCP               AppendText(Reply), Body.AppendWS
//
// Parsers work on what has arrived so far: they return n == 0 and no error when
// they need more, never look past what they were given, and refuse what can no
// longer become valid at the first byte that shows it. What they return points
// into the buffer they were given. Nothing here reads, writes or keeps time.
//
// A [Body] is rendered once per push. Between keys only the digits of the mid
// differ, so an Append is three copies and allocates nothing when dst has room.
package wire
