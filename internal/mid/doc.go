// Package mid is the arithmetic of message ids.
//
// A mid is an int64 in units of 100 ns since 1970. Clients in the field hold it
// as a float64 and so does Redis, and today's values are past 2^53: there a
// float64 has room for every second, soon only every fourth integer. Every mid
// that we make is therefore a multiple of [Step], which survives a float64
// exactly, and two neighbours never collapse (docs/protocol.md, "mid").
//
// Mids that others made (an old daemon, a client) may be any int64 >= 0. They
// are read and compared, never rewritten.
package mid
