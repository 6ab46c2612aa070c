// Package ops is what a daemon tells the operators of its machine.
//
//	stat.bind  ─▶ /stat     numbers, JSON
//	              /healthz  200 while the process answers at all
//	              /readyz   200 when it can do its work, else 503 and why not
//	pprof.bind ─▶ /debug/pprof/
//
// Both listen on loopback only and answer only requests that were made to a
// loopback name, so that no web page in a browser on this machine can read
// them.
package ops
