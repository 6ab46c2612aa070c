package comet

import "sync/atomic"

// reason says why a session ended. Each is counted.
type reason int

const (
	endClient      reason = iota // the client went away
	endNoHeartbeat               // nothing heard for heartbeat + 5 s
	endBadByte                   // something other than a heartbeat
	endQueueFull                 // the outbox is full
	endStalled                   // no progress of a write for 10 s
	endWriteError                // the socket refused a write
	endNotOwner                  // the key belongs to another comet now
	endOvertaken                 // a stored message turned up below one that was sent
	endFillFailed                // messages in between could not be fetched
	endClosed                    // CometRPC.Close
	endDrain                     // the comet stops
	endAlone                     // the comet is cut off from all other daemons
	reasons                      // how many there are
)

var reasonNames = [reasons]string{
	"client", "no_heartbeat", "bad_byte", "queue_full", "stalled", "write_error",
	"not_owner", "overtaken", "fill_failed", "closed", "drain", "alone",
}

func (r reason) String() string { return reasonNames[r] }

// counters are the comet's own figures. All only rise but sessions and queued.
type counters struct {
	accepts   [transports]atomic.Int64 // sockets accepted
	sessions  [transports]atomic.Int64 // sessions now
	refused   [refusals]atomic.Int64
	ended     [reasons]atomic.Int64
	resumed   atomic.Int64 // sessions whose client gave a mid
	gaps      atomic.Int64 // times one of these was told of a gap
	beats     atomic.Int64
	pushes    atomic.Int64 // keys pushed to, with or without an expiry
	saved     atomic.Int64 // of those, stored
	failed    atomic.Int64 // of those, not surely done
	late      atomic.Int64 // pushes that were read too late to be done
	delivered atomic.Int64 // frames handed to a session
	dropped   atomic.Int64 // messages without an expiry that a full queue dropped
	fills     atomic.Int64 // times something in between was fetched
	queued    atomic.Int64 // bytes in all outboxes
}

// refusal says why a socket did not become a session. Each is counted.
type refusal int

const (
	refuseProtocol refusal = iota
	refuseTimeout
	refuseParam
	refuseNotOwner
	refuseToken
	refuseChannel
	refuseFull
	refuseStore
	refuseBusy
	refusals
)

var refusalNames = [refusals]string{"protocol", "timeout", "param", "not_owner", "token", "channel", "full", "store", "busy"}

// open returns how many sessions there are now.
func (c *counters) open() int64 {
	return c.sessions[overTCP].Load() + c.sessions[overWebSocket].Load()
}

// Stat is what /stat shows. Counts are since the start.
type Stat struct {
	Channels  int              `json:"channels"`
	TCP       int64            `json:"sessions_tcp"`
	WS        int64            `json:"sessions_websocket"`
	Accepts   map[string]int64 `json:"accepts"`
	Refused   map[string]int64 `json:"refused"`
	Ended     map[string]int64 `json:"ended"`
	Resumed   int64            `json:"resumed"`
	Gaps      int64            `json:"gaps"`
	Beats     int64            `json:"heartbeats"`
	Pushes    int64            `json:"pushes"`
	Saved     int64            `json:"saved"`
	Failed    int64            `json:"failed"`
	Late      int64            `json:"late"`
	Delivered int64            `json:"delivered"`
	Dropped   int64            `json:"dropped"`
	Fills     int64            `json:"fills"`
	Queued    int64            `json:"queued_bytes"`
	ClockOff  int64            `json:"clock_off_ms"` // ahead of most daemons
}

func (c *counters) stat() Stat {
	s := Stat{
		TCP: c.sessions[overTCP].Load(), WS: c.sessions[overWebSocket].Load(),
		Accepts: make(map[string]int64), Refused: make(map[string]int64), Ended: make(map[string]int64),
		Resumed: c.resumed.Load(), Gaps: c.gaps.Load(), Beats: c.beats.Load(), Pushes: c.pushes.Load(), Saved: c.saved.Load(), Failed: c.failed.Load(), Late: c.late.Load(),
		Delivered: c.delivered.Load(), Dropped: c.dropped.Load(), Fills: c.fills.Load(), Queued: c.queued.Load(),
	}
	for i := range c.accepts {
		s.Accepts[transportNames[i]] = c.accepts[i].Load()
	}
	for i := range c.refused {
		s.Refused[refusalNames[i]] = c.refused[i].Load()
	}
	for i := range c.ended {
		s.Ended[reasonNames[i]] = c.ended[i].Load()
	}
	return s
}
