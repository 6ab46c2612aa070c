// Package assemble joins each daemon with what it stands on, and runs the whole.
//
//	Comet, Web, Message:  file ─▶ Config ─▶ registry (ZooKeeper) ─▶ directory ─▶ daemon, ops
//	Standalone:           the three on one registry in memory, in one process
//
// What runs is a stack: a layer starts on those below it and ends before them,
// so a daemon that drains still has its directory, and the directory its
// registry. The operators' port is below all: it answers until the end.
package assemble
