package message

import "time"

// Stat is what /stat shows of a message daemon.
type Stat struct {
	Storage string      `json:"storage"`
	Shards  []ShardStat `json:"shards"`
	// ClockOff is how far the clock is ahead of those of most daemons.
	ClockOff int64 `json:"clock_off_ms"`
}

// ShardStat is one shard in Stat.
type ShardStat struct {
	Name    string    `json:"name"`
	Weight  int       `json:"weight"`
	Up      bool      `json:"up"`
	Since   time.Time `json:"since"`         // it has been up or down since then
	Down    string    `json:"why,omitempty"` // it is down
	Calls   int64     `json:"calls"`         // keys asked for, saved, read or deleted, and tokens
	Failed  int64     `json:"failed"`        // of them
	Waiting int64     `json:"waiting"`       // calls under way
	Reading int64     `json:"reading"`       // keys that are being read
	Most    int64     `json:"reading_most"`  // at once, since the start
}

// Stat returns the daemon's numbers.
func (s *Server) Stat() any {
	st := Stat{Storage: s.cfg.Storage.Type}
	if s.service.clock != nil {
		st.ClockOff = s.service.clock.Off().Milliseconds()
	}
	for _, h := range s.shards.all {
		state := h.state.Load()
		one := ShardStat{
			Name: h.name, Weight: h.weight, Up: state.err == nil, Since: state.since,
			Calls: h.calls.Load(), Failed: h.failed.Load(), Waiting: h.waiting.Load(),
			Reading: h.reading.Load(), Most: h.most.Load(),
		}
		if state.err != nil {
			one.Down = state.err.Error()
		}
		st.Shards = append(st.Shards, one)
	}
	return st
}
