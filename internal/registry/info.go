package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of a weight. The upper one is what a single node can make of the ring:
// 255 ticks for each unit of weight, held by every daemon.
const (
	MinWeight = 1
	MaxWeight = 100
)

// encode returns i as the data of a znode.
func (i Info) encode() []byte {
	if i.RPC == nil {
		i.RPC = []string{} // an old daemon ranges over it; null is for nobody
	}
	data, err := json.Marshal(i)
	if err != nil {
		panic("registry: strings and a number do not marshal: " + err.Error())
	}
	return data
}

// parseInfo reads the data of a znode. Other daemons may be older or newer
// than we are: unknown fields are ignored, and a field of another type is left
// at zero and told in the error beside what could be read.
func parseInfo(data []byte) (Info, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Info{}, nil
	}
	var raw struct{ RPC, TCP, WS, Weight json.RawMessage }
	if err := json.Unmarshal(data, &raw); err != nil {
		return Info{}, fmt.Errorf("not a JSON object: %w", err)
	}
	var i Info
	field := func(name string, raw json.RawMessage, into any) error {
		if raw == nil {
			return nil
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		return nil
	}
	err := errors.Join(
		field("rpc", raw.RPC, &i.RPC),
		field("tcp", raw.TCP, &i.TCP),
		field("ws", raw.WS, &i.WS),
		field("weight", raw.Weight, &i.Weight),
	)
	return i, err
}

// parseKeep reads from the data of a node until when it is to be left alone; the
// zero time where it says nothing that we understand.
func parseKeep(data []byte) time.Time {
	var raw struct{ Keep int64 }
	if json.Unmarshal(data, &raw) != nil || raw.Keep <= 0 {
		return time.Time{}
	}
	return time.Unix(raw.Keep, 0)
}

// equal reports whether i and j say the same.
func (i Info) equal(j Info) bool {
	return slices.Equal(i.RPC, j.RPC) && slices.Equal(i.TCP, j.TCP) && slices.Equal(i.WS, j.WS) && i.Weight == j.Weight
}

// weight is the one rule for the weight of a node or a message daemon, so that
// all daemons build the same ring: the first of the candidates that is known,
// else 1, and never above MaxWeight.
func weight(candidates ...int) int {
	for _, w := range candidates {
		if w > 0 {
			return min(w, MaxWeight)
		}
	}
	return MinWeight
}
