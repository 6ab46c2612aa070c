package comet

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// outbox writes frames to a socket in their order, from any goroutine, and never
// makes one wait.
//
// Who finds the socket free writes straight to it, without blocking. What the
// kernel does not take waits in the queue, and a goroutine exists for as long as
// something is there. A queue that is full, or a socket that takes nothing for
// stallTime, ends the session.
type outbox struct {
	// Set when it is made, then read-only.
	conn   socket
	stats  *counters
	limits func() limits
	tasks  *sync.WaitGroup // of the server; the session's reader counts in it as long as the socket is open

	mu      sync.Mutex
	queue   net.Buffers // guarded by mu; the first may be the rest of a frame
	bytes   int         // guarded by mu: in queue
	writing bool        // guarded by mu: one goroutine is at the socket
	last    bool        // guarded by mu: nothing is sent any more; close when the queue is empty
	closed  bool        // guarded by mu
	why     reason      // guarded by mu: of the end, the first one counts
	over    bool        // guarded by mu: why is set
	idle    func()      // guarded by mu: called when nothing waits any more; nil: nobody asked
}

// stallTime is how long a write may make no progress.
const stallTime = 10 * time.Second

// send queues frame, or writes it where nothing waits. It does not keep a copy.
func (o *outbox) send(frame []byte) {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return
	}
	if !o.fits(len(frame), 1) {
		o.mu.Unlock()
		o.end(endQueueFull)
		return
	}
	o.push(frame)
	o.flush()
}

// fits reports whether a frame of n bytes may wait in one part of the outbox.
// However long it is, it may if nothing else does; and so may the answer to a
// heartbeat behind one that is longer than all of the outbox. o.mu is held.
func (o *outbox) fits(n, part int) bool {
	lim := o.limits()
	switch {
	case len(o.queue) == 0:
		return true
	case len(o.queue) >= lim.queue/part:
		return false
	case n <= len(acceptedWS):
		return true
	}
	return o.bytes+n <= lim.bytes/part && o.stats.queued.Load() <= lim.total
}

// room reports whether a frame of n bytes that has time should be sent now: half
// of the outbox is for what has none, as the answers to heartbeats.
func (o *outbox) room(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fits(n, 2)
}

// whenIdle reports whether nothing waits. If something does, f is called once,
// from any goroutine, when it has left or the session is over.
func (o *outbox) whenIdle(f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.closed {
		return true
	}
	o.idle = f
	return false
}

// unlock releases o.mu and calls whoever waits for the outbox to be empty.
func (o *outbox) unlock() {
	var f func()
	if len(o.queue) == 0 || o.closed {
		f, o.idle = o.idle, nil
	}
	o.mu.Unlock()
	if f != nil {
		f()
	}
}

// push adds to the queue. o.mu is held.
func (o *outbox) push(frame []byte) {
	o.queue = append(o.queue, frame)
	o.bytes += len(frame)
	o.stats.queued.Add(int64(len(frame)))
}

// written takes n bytes off the queue. o.mu is held.
func (o *outbox) written(n int) {
	o.bytes -= n
	o.stats.queued.Add(-int64(n))
	for len(o.queue) > 0 && n >= len(o.queue[0]) {
		n -= len(o.queue[0])
		o.queue[0] = nil
		o.queue = o.queue[1:]
	}
	if len(o.queue) == 0 {
		o.queue = nil
	} else {
		o.queue[0] = o.queue[0][n:]
	}
}

// flush writes what the kernel takes at once, unless somebody is writing
// already. It is called with o.mu held and returns with it released; the lock is
// not held across a write.
func (o *outbox) flush() {
	for !o.writing && !o.closed && len(o.queue) > 0 {
		frame := o.queue[0]
		o.writing = true
		o.mu.Unlock()
		n, err := o.conn.TryWrite(frame)
		o.mu.Lock()
		o.writing = false
		if err != nil {
			o.mu.Unlock()
			o.end(endWriteError)
			return
		}
		if o.closed {
			break
		}
		o.written(n)
		if n < len(frame) {
			o.writing = true
			o.tasks.Go(o.drain)
		}
	}
	o.closeIfDone()
	o.unlock()
}

// drain writes with blocking writes until the queue is empty. It owns the socket
// meanwhile. Everything that waits leaves in one write.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.unlock()
	for !o.closed && len(o.queue) > 0 {
		frames := slices.Clone(o.queue)
		o.mu.Unlock()
		o.conn.SetWriteDeadline(time.Now().Add(stallTime))
		n, err := frames.WriteTo(o.conn)
		o.conn.SetWriteDeadline(time.Time{})
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && n > 0: // slow, but it moves
		case errors.Is(err, os.ErrDeadlineExceeded):
			o.end(endStalled)
		default:
			o.end(endWriteError)
		}
		o.mu.Lock()
		if !o.closed {
			o.written(int(n))
		}
	}
	o.writing = false
	o.closeIfDone()
}

// finish sends frame as the last one and closes when the queue is empty. The
// client has lingerTime to take it.
func (o *outbox) finish(why reason, frame []byte) {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return
	}
	o.over, o.why, o.last = true, why, true
	if len(frame) > 0 {
		o.push(frame)
	}
	o.flush()
}

// lingerTime is how long a client may take to close its end after ours, and
// lingerBytes what it may send meanwhile.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// closeIfDone closes our end of the socket once the last frame is out. The
// reader sees the other end close, or gives up after lingerTime. o.mu is held.
func (o *outbox) closeIfDone() {
	if o.last && !o.closed && !o.writing && len(o.queue) == 0 {
		o.last = false
		o.conn.CloseWrite()
		o.conn.SetReadDeadline(time.Now().Add(lingerTime))
	}
}

// end closes the socket at once. Its reader finds out and takes the session off
// its channel.
func (o *outbox) end(why reason) {
	o.mu.Lock()
	if !o.over {
		o.over, o.why = true, why
	}
	if !o.closed {
		o.closed = true
		o.stats.queued.Add(-int64(o.bytes))
		o.bytes, o.queue = 0, nil
		o.conn.Close()
	}
	o.unlock()
}

// ended reports whether nothing more is sent.
func (o *outbox) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// reason returns why the session ended.
func (o *outbox) reason() reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// expectWithin gives the client d to say something, unless the session is over
// and the socket only waits to be closed.
func (o *outbox) expectWithin(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.conn.SetReadDeadline(time.Now().Add(d))
	}
}
