// Package batch is group commit: what arrives while one batch is under way
// leaves together in the next.
//
//	Submit ─▶ queue ─┬▶ run(batch) ─▶ done, one call an item
//	                 └▶ run(batch)    at most InFlight at once
//
// Nothing waits for company: an item that finds the lane idle goes at once, and
// a batch grows only as long as the one before it takes. A lane owns no
// goroutine while it is idle.
//
// Items of one lane may overtake each other when InFlight > 1. Who needs an
// order submits the next item when the one before it is done.
package batch
