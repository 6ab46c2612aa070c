package message

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An outage is said a few times, and then once a minute, from the beginning
// when it comes again.
func TestReminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShard("node1", 1, nil)
		down := errors.New("refused")
		outage := func() (lines int) {
			h.found(down) // the first is a line of its own
			for range 10 * 60 {
				time.Sleep(time.Second)
				before := h.remind.said
				if h.found(down); h.remind.said != before {
					lines++
				}
			}
			return lines
		}
		for range 2 {
			if got, want := outage(), reminderOften+9; got != want {
				t.Errorf("%d lines in 10 minutes, want %d", got, want)
			}
			if h.remind.tries != 600 {
				t.Errorf("%d tries counted, want 600", h.remind.tries)
			}
			h.found(nil)
		}
	})
}
