// Package backoff spaces repeated tries: each waits up to twice as long as the
// one before, with jitter, so that many daemons that lost the same service do
// not come back to it at one instant.
//
//	b := backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second}
//	for b.Wait(ctx) == nil {
//		if try() == nil {
//			b.Reset()
//		}
//	}
package backoff
