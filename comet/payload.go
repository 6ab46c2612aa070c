package comet

import (
	"encoding/json"
	"sync"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

// payload is the message of one push, shared by all its keys.
type payload struct {
	msg json.RawMessage // canonical

	onceNew, onceOld sync.Once
	bodyNew, bodyOld wire.Body
}

// body returns the message as clients of that age see it, rendered at first use.
func (p *payload) body(old bool) wire.Body {
	if old {
		p.onceOld.Do(func() { p.bodyOld = wire.NewBody(p.msg, 0, true) })
		return p.bodyOld
	}
	p.onceNew.Do(func() { p.bodyNew = wire.NewBody(p.msg, 0, false) })
	return p.bodyNew
}

// delivery is one message on its way to the sessions of one channel, or word
// that some are gone. Its channel's turns own it.
type delivery struct {
	*payload
	gap     *gap // nil: it is a message
	mid     int64
	prev    int64 // every stored message up to this one goes out before it
	stored  bool
	expires int64 // unix second from which it is not sent any more; 0: no matter

	// Rendered at first use, and shared by the sessions.
	frames, framesOld [transports][]byte
}

// read is a message that was read from the store. On its way, and while it waits,
// it may expire.
func read(m peer.Stored) *delivery {
	return &delivery{payload: &payload{msg: m.Msg}, mid: m.Mid, stored: true, expires: m.ExpireAt}
}

// expired reports whether d has waited for too long.
func (d *delivery) expired(now time.Time) bool { return d.expires != 0 && d.expires <= now.Unix() }

// frame returns the bytes for a client of that age and transport.
func (d *delivery) frame(old bool, via transport) []byte {
	frame := &d.frames[via]
	if old {
		frame = &d.framesOld[via]
	}
	if *frame == nil {
		b := d.body(old)
		if via == overWebSocket {
			*frame = b.AppendWS(nil, d.mid)
		} else {
			*frame = b.AppendTCP(nil, d.mid)
		}
	}
	return *frame
}
