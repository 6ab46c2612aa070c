package mid

import (
	"math"
	"time"
)

const (
	// Step is the distance between neighbouring mids of ours.
	Step = 80
	// Second is one second in mid units.
	Second = int64(time.Second / 100)
	// Blind is how far past the last mid a save steps whose caller does not
	// know the floor: room for 1,024 messages that a comet gave mids without
	// storing them.
	Blind = 1024 * Step
	// Unknown says in place of a floor that the caller knows none: AtLeast(0).
	Unknown = int64(-1)

	// ahead is how far in the future a mid may lie before it is called foreign
	// and raises nothing: one hour.
	ahead = 3600 * Second
)

// Of returns t in mid units, rounded down. It is not a multiple of Step.
func Of(t time.Time) int64 { return t.UnixNano() / 100 }

// Time returns the instant that m names, in UTC.
func Time(m int64) time.Time {
	return time.Unix(m/Second, m%Second*100).UTC()
}

// AtLeast returns the floor of a caller who knows that mids up to m were given,
// and that others may have given larger ones. Such a floor is negative.
func AtLeast(m int64) int64 { return ^m }

// Known returns the mid that a floor stands for, and whether others may have
// given larger ones.
func Known(floor int64) (m int64, more bool) {
	if floor < 0 {
		return ^floor, true
	}
	return floor, false
}

// Next returns the mid of the next stored message: the smallest multiple of
// Step that is > last, > floor and >= clock. With a floor of [AtLeast] it lies
// at least [Blind] past last.
func Next(last, floor, clock int64) int64 {
	floor, more := Known(floor)
	if more && last > 0 {
		floor = max(floor, last+Blind-1)
	}
	return ceil(max(last+1, floor+1, clock))
}

// After returns the smallest multiple of Step above m: the mid of a message
// that is not stored.
func After(m int64) int64 { return ceil(m + 1) }

// Foreign reports whether m lies so far ahead of clock that no daemon of ours
// can have made it. Such a mid is served by /1/msg/get only.
func Foreign(m, clock int64) bool { return m > Horizon(clock) }

// Horizon returns the largest mid that is not [Foreign] at clock.
func Horizon(clock int64) int64 { return clock + ahead }

// ceil rounds m up to a multiple of Step, and down only where int64 ends.
func ceil(m int64) int64 {
	if m <= 0 {
		return 0
	}
	if m > math.MaxInt64-Step {
		return math.MaxInt64 / Step * Step
	}
	return (m + Step - 1) / Step * Step
}
