// Package daemon is what the three mains have in common: flags, signals, the
// pid file and exit codes.
//
//	main ─▶ Main ─ flags ─▶ Program.Run(ctx, path, reload) ─▶ exit code
//	          │ SIGTERM, SIGINT: ctx ends; again: exit at once
//	          └ SIGHUP: reload
//
// Exit codes: 0 clean, 1 failure, 2 wrong usage or configuration. A daemon
// never ends itself in another way; Main returns, and main calls os.Exit.
package daemon
