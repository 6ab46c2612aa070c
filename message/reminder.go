package message

import "time"

const (
	// reminderOften is how many lines say at once that something is still awaited,
	// and reminderRest how long it is between the ones after them: who looks at the
	// log finds one near its end, and an outage of days does not fill the disk.
	reminderOften = 3
	reminderRest  = time.Minute
)

// reminder says when a wait is worth another line in the log. The zero value
// begins a wait.
type reminder struct {
	tries int // so far
	said  time.Time
}

// due counts a try in vain, and reports whether to log it.
func (r *reminder) due(now time.Time) bool {
	r.tries++
	if r.tries > reminderOften && now.Sub(r.said) < reminderRest {
		return false
	}
	r.said = now
	return true
}
