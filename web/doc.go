// Package web answers HTTP: which comet holds a key, what a client missed, and,
// for back-ends, tokens and pushes (docs/protocol.md, "HTTP").
//
//	client app ─GET─▶ http.bind ──┐                   ┌─ server/get ─▶ Directory: key → addresses
//	                              ├─▶ route ─▶ guard ─┼─ msg/get, del ─▶ Messages
//	back-end ──POST─▶ admin.bind ─┘                   ├─ token/add ─▶ the key's comet, else Messages
//	                                                  └─ push ─▶ delivery ─▶ comets, else Messages
//
// A push is answered with ret 0 only when each part of it that must be kept is
// stored. It has two seconds: an owner that cannot be reached is passed over and
// the message saved directly, an answer that was lost is asked for once more
// under the same nonce, and what is still not sure then is 65535 (delivery.go).
//
// Besides, one web at a time tells comets when the ring has changed (migrate.go),
// and takes dead ones out of it (reaper.go, verdict.go).
//
// Web keeps nothing: any number of them give the same answers. It does not
// limit how often a client may ask; that is the proxy's in front, for now.
package web
