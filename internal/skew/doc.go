// Package skew tells whether this daemon's clock agrees with those of the others.
//
//	directory ── asks for the time, every 10 s ──▶ Measure ─┐
//	CometRPC.Clock, MessageRPC.Clock ── is told ──▶ Told ───┴▶ offsets, by daemon ─▶ judge ─▶ log, Off, Ready
//
// Mids are times, and so is until when a message or a token lives, so clocks that
// differ by minutes cost messages. How far two clocks differ is measured by one
// of the two daemons, who tells the other with its next call: a message daemon,
// which calls nobody, learns of itself as well.
//
// A daemon takes the median of all clocks that it knows, its own among them, for
// right. So one wrong clock among several accuses itself and nobody else. Where
// two halves differ nobody can know which is wrong: all warn, none accuses itself.
//
// Nothing is corrected here, and nothing ends: setting a clock is NTP's task.
package skew
