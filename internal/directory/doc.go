// Package directory leads from a key to the comet that serves it, and to a
// message daemon.
//
//	registry.Watch ─▶ View {ring, nodes} ─ one atomic pointer ─▶ Comet(key), Lookup, Owns
//	                    │
//	                    └▶ links: one client for each address ◀─ pinged every second
//	                                   │
//	Save, Read, … ─ weighted choice of those that answer ─▶ another one if it is safe
//
// What is read from ZooKeeper always wins. While it is away the last view stays
// in force, for as long as it takes; only then does a ring that somebody tells
// (Told) count.
//
// A daemon that fails its ping is left out of the choice, never forgotten: if
// none answers, all are tried.
package directory
