package testenv

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from below the range from which the kernel serves ":0" and
// outgoing connections (32768 and up), so that a stopped server finds its port
// free when it starts again.
const (
	firstPort = 15000
	lastPort  = 32700
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on and that no
// other call, in this or another test binary, gets before the test has ended.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		// The claim is a name in the kernel's abstract socket space: no file is
		// left behind, whatever becomes of this process.
		claim, err := net.Listen("unix", fmt.Sprintf("@gopush-testenv/%d", port))
		if err != nil {
			continue // claimed by another test
		}
		probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			claim.Close()
			continue // taken by something else
		}
		probe.Close()
		t.Cleanup(func() { claim.Close() })
		return port
	}
	t.Fatalf("testenv: no free port between %d and %d", firstPort, lastPort)
	return 0
}

// FreeAddr returns 127.0.0.1 with a port as FreePort chooses it.
func FreeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}
