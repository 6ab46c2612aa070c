package comet

import (
	"encoding/json"
	"sync"
	"time"

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

// delivery is one message on its way to the sessions of one channel. Its
// channel's turns own it.
type delivery struct {
	*payload
	mid     int64
	prev    int64 // every stored message up to this one goes out before it
	stored  bool
	expires int64     // unix second from which it is not sent any more; 0: no matter
	frames  [4][]byte // by form, rendered at first use and shared by the sessions
}

// expired reports whether d has waited for too long.
func (d *delivery) expired(now time.Time) bool { return d.expires != 0 && d.expires <= now.Unix() }

// frame returns the bytes for a client of that age and transport.
func (d *delivery) frame(old, ws bool) []byte {
	form := 0
	if old {
		form |= 1
	}
	if ws {
		form |= 2
	}
	if d.frames[form] == nil {
		b := d.body(old)
		if ws {
			d.frames[form] = b.AppendWS(nil, d.mid)
		} else {
			d.frames[form] = b.AppendTCP(nil, d.mid)
		}
	}
	return d.frames[form]
}
