// Package testenv starts the real things for tests: Redis, MariaDB, ZooKeeper, Nginx,
// our own daemons, and a TCP proxy that breaks the connections between them.
//
//	r := testenv.Redis(t)            // redis-server in t.TempDir(), on a port of its own
//	p := testenv.Proxy(t, r.Addr())  // p.Cut(), p.Hold(…), p.Refuse(), p.Delay(…)
//	r.Kill()                         // kill -9
//	r.Start()                        // the same port and data
//	testenv.Eventually(t, 5*time.Second, func() error { … })
//
// Everything listens on loopback only and ends with the test that started it;
// what a process printed is shown when that test fails. Nothing waits blindly:
// a server is ready when it answers. With -short the tests that need a real
// server are skipped; a missing package is a failure that names it.
//
// All functions that take a testing.TB, and the methods of what they return,
// end the test on failure and must be called on its goroutine. Linux only.
package testenv
