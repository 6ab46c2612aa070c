// Package wallclock tells the time of day, by which messages get their ids and
// expire.
//
// The clocks of two machines differ, and each may step. So that a test can step
// the clock of one daemon, all code that needs the time of day asks here. How
// long something took, and until when to wait, is asked of package time: what
// runs on the monotonic clock does not step.
//
// In a build with the tag chaos, which is never shipped, the clock is off by as
// many whole seconds as the file says that GOPUSH_CLOCK_STEP names. Every other
// build holds nothing of that.
package wallclock
