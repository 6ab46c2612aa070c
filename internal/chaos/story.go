package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	storyLines = 40 // at most; what matters is at the two ends
	afterwards = 4  // of them, at most, from after the moment at which it showed
)

// Story tells what the history knows of a violation's message, and nothing else:
// its pushes, each sight of it, the socket, fetch or client concerned, and the
// faults of the time.
func Story(events []Event, v Violation) string {
	var lines []string
	first, last := forever, time.Duration(0)
	about := func(e Event) string {
		switch e.Kind {
		case Push:
			if slices.Contains(e.Keys, v.key) && v.concerns(Message{Body: canonical(e.Body)}) {
				text := fmt.Sprintf("push %d begins by %s to %q, expire %d: %s", e.Push, e.Web, e.Keys, e.Expire, e.Body)
				if e.ID != "" {
					text += ", id " + e.ID
				}
				return text
			}
		case Recv:
			if e.Key == v.key {
				return v.sights(fmt.Sprintf("client %d gets on socket %d", e.Client, e.Socket), e.Msgs)
			}
		case Got:
			if e.Key != v.key {
				return ""
			}
			text := fmt.Sprintf("fetch %d from mid %d by client %d for socket %d: ret %d, %d messages", e.Fetch, e.Mid, e.Client, e.Socket, e.Ret, len(e.Msgs))
			if of := v.sights(text, e.Msgs); of != "" {
				return of
			}
			if e.Fetch == v.fetch || v.socket > 0 && e.Socket == v.socket {
				return text + ", not this one"
			}
		case Gap:
			if v.client > 0 && e.Client == v.client {
				return fmt.Sprintf("client %d is told on socket %d of a gap from %d to %d", e.Client, e.Socket, e.Mid, e.Oldest)
			}
		case Open, Close:
			if v.socket > 0 && e.Socket == v.socket {
				text := fmt.Sprintf("socket %d of client %d: %s: %s", e.Socket, e.Client, e.Kind, e.Note)
				if e.Resume {
					text += fmt.Sprintf(", resumes from mid %d", e.Mid)
				}
				return text
			}
		}
		return ""
	}
	told := make(map[int]bool) // pushes whose answers belong to it
	after := 0
	for i, e := range events {
		text := about(e)
		if e.At > v.At && text != "" && e.Kind != Push {
			if after++; after > afterwards {
				continue
			}
		}
		switch {
		case text != "" && e.Kind == Push:
			told[e.Push] = true
		case e.Kind == Answer && told[e.Push]:
			text = fmt.Sprintf("push %d is answered: ret %d, fk %q %s", e.Push, e.Ret, e.Failed, e.Note)
		case text == "":
			continue
		}
		first, last = min(first, e.At), e.At
		lines = append(lines, line(i, e.At, text))
	}
	for i, e := range events {
		if e.Kind == Fault && e.At > first-3*time.Second && e.At < min(last, v.At+time.Second) {
			lines = append(lines, line(i, e.At, "*** "+e.Note))
		}
	}
	slices.Sort(lines)
	if n := len(lines); n > storyLines {
		cut := fmt.Sprintf("          […] %d lines", n-storyLines)
		lines = slices.Concat(lines[:storyLines-10], []string{cut}, lines[n-10:])
	}
	return strings.Join(lines, "\n")
}

// line writes one line, so that lines sort by time and then by their place.
func line(i int, at time.Duration, text string) string {
	return fmt.Sprintf("%11.6fs #%07d %s", at.Seconds(), i+1, text)
}

// concerns reports whether the violation is about m.
func (v Violation) concerns(m Message) bool {
	return slices.Contains(v.bodies, m.Body) || slices.Contains(v.mids, m.Mid)
}

// sights returns text with those of msgs that the violation is about, "" if
// there are none.
func (v Violation) sights(text string, msgs []Message) string {
	found := ""
	for _, m := range msgs {
		if v.concerns(m) {
			found += fmt.Sprintf(" · mid %d %s", m.Mid, m.Body)
		}
	}
	if found == "" {
		return ""
	}
	return text + found
}
