// Package arch holds the test that draws the import arrows between our
// packages and fails on one that must not be.
//
//	6  cmd/{comet,web,message,gopush}                 flags and exit codes
//	5  cmd/internal/assemble                          a daemon with its directory and registry
//	4  comet  comet/client  web  web/client  message  internal/directory
//	3  internal/peer
//	2  internal/{rpcnet,registry,ops,daemon}
//	1  internal/{wire,ketama,mid,msg,config,backoff,batch,version}  scripts (the schema)
//	   tests only: internal/{testenv,e2e,chaos,arch}  conf  docs
//
// An import goes to a lower level, so packages of one level are blind to each
// other. Level 1 imports none of ours and does not log. A third-party client
// lives behind the one package that rules_test.go names for it.
package arch
