package wire

// Reply is what the server answers to a command or a heartbeat: these bytes
// over TCP, and the same bytes in a text frame over WebSocket. After a reply
// that begins with '-' the server closes.
type Reply string

const (
	Accepted   Reply = "+h\r\n" // subscribed; and the answer to each heartbeat
	BadParam   Reply = "-p\r\n" // a parameter is wrong or missing
	AuthFailed Reply = "-a\r\n" // the key has a live token, but not this one
	NoChannel  Reply = "-c\r\n" // the key has no live token, or too many sockets
	WrongNode  Reply = "-n\r\n" // the key does not live on this comet: ask web again
)

// Heartbeat is the one byte a subscribed client sends.
const Heartbeat byte = 'h'
