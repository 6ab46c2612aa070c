// Package registry is how the daemons find each other: a tree of znodes in
// which each of them keeps its address, and from which each of them derives the
// whole cluster by itself.
//
//	             JoinComet, JoinMessage                       Watch
//	daemon ─▶ Membership.Run ──▶ tree: ZooKeeper or Memory ──▶ two equal passes ─▶ Snapshot ─▶ directory
//	               ▲   register, mark,  │                          ▲
//	               └─── look again ◀────┴──────── any change ──────┘
//
//	/gopush-cluster-comet/node1               data of the active comet, kept while it is away
//	/gopush-cluster-comet/node1/0000000004    ephemeral: active, the lowest sequence
//	/gopush-cluster-comet/node1/0000000007    ephemeral: hot standby
//	/gopush-cluster-message/0000000001        ephemeral
//
// Everything is level-triggered: an event only says "look again", and every
// half minute somebody looks without one. So it does not matter which event was
// lost, or which answer.
//
// A web takes out what a dead comet left behind, with RemoveNode, and two webs
// keep out of each other's way by a Lock. Both go by what was seen: what was
// touched since, or belongs to another session, stays.
//
// ZooKeeper away is weather: Watch keeps its last state, Membership registers
// again when the session is gone, and neither ever ends by itself.
//
// A ring carries an epoch, by which two views of it can be ordered. It is made
// of ZooKeeper's transaction ids, so an ensemble that was wiped begins anew: the
// epochs of a younger Root are newer. A Watch that meets one waits for those it
// knew to register again (see forgotten).
package registry
