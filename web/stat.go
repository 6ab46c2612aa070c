package web

import "sync/atomic"

// counters count since the start.
type counters struct {
	byPath  map[string]*byRet // of each URL; the map is never changed
	unknown atomic.Int64      // 404
	method  atomic.Int64      // 405
	refused atomic.Int64      // 401 and 403
	tooBig  atomic.Int64      // bodies over their limit
	direct  atomic.Int64      // keys whose message web saved itself
	synced  atomic.Int64      // keys whose comet was told of such a message
	told    atomic.Int64      // comets that agreed to a ring that this web told
	reaped  atomic.Int64      // dead comets that this web took out of the ring
}

// byRet counts the answers of one URL.
type byRet struct{ ok, noComet, param, internal atomic.Int64 }

func newCounters() *counters {
	c := &counters{byPath: make(map[string]*byRet)}
	for _, table := range []map[string]endpoint{public, internal} {
		for path := range table {
			c.byPath[path] = new(byRet)
		}
	}
	return c
}

// answer counts an answer with a ret.
func (c *counters) answer(path string, ret int) {
	n := c.byPath[path]
	switch ret {
	case retOK:
		n.ok.Add(1)
	case retNoComet:
		n.noComet.Add(1)
	case retParam:
		n.param.Add(1)
	default:
		n.internal.Add(1)
	}
}

// Stat returns what web did since its start, for /stat.
func (s *Server) Stat() any {
	c := s.count
	stat := Stat{
		Requests: make(map[string]StatRequests, len(c.byPath)),
		Refused: StatRefused{
			UnknownURL: c.unknown.Load(),
			Method:     c.method.Load(),
			Access:     c.refused.Load(),
			TooLarge:   c.tooBig.Load(),
		},
		DirectSaves: c.direct.Load(),
		Synced:      c.synced.Load(),
		Told:        c.told.Load(),
		Reaped:      c.reaped.Load(),
	}
	if s.clockOff != nil {
		stat.ClockOff = s.clockOff().Milliseconds()
	}
	for path, n := range c.byPath {
		stat.Requests[path] = StatRequests{n.ok.Load(), n.noComet.Load(), n.param.Load(), n.internal.Load()}
	}
	return stat
}

// Stat is what /stat shows of web.
type Stat struct {
	Requests map[string]StatRequests `json:"requests"` // by URL
	Refused  StatRefused             `json:"refused"`
	// DirectSaves are the keys whose comet was out of reach, and whose message
	// web saved itself.
	DirectSaves int64 `json:"direct_saves"`
	// Synced are the keys whose comet this web told of such a message.
	Synced int64 `json:"synced"`
	// Told are the comets that this web told of a ring, and that agreed to it.
	Told int64 `json:"told"`
	// Reaped are the dead comets that this web took out of the ring.
	Reaped int64 `json:"reaped"`
	// ClockOff is how far the clock is ahead of those of most daemons.
	ClockOff int64 `json:"clock_off_ms"`
}

type (
	// StatRequests counts answers by their ret.
	StatRequests struct {
		OK       int64 `json:"ok"`
		NoComet  int64 `json:"no_comet"`
		Param    int64 `json:"param"`
		Internal int64 `json:"internal"`
	}
	// StatRefused counts requests that got no ret, and bodies cut off.
	StatRefused struct {
		UnknownURL int64 `json:"unknown_url"`
		Method     int64 `json:"method"`
		Access     int64 `json:"access"`
		TooLarge   int64 `json:"too_large"`
	}
)
