// Command gopush is the cluster in one process, and the hands of whoever runs
// or tries one: subscribe like a client, push like a back-end, look inside.
//
//	gopush standalone            comet, web and message in one process
//	gopush sub KEY               ─▶ web (where) ─▶ comet
//	gopush push KEY MESSAGE      ─▶ web, admin port
//	gopush token add KEY TOKEN   ─▶ web, admin port
//	gopush nodes                 ─▶ web, admin port
//	gopush offline KEY           ─▶ web
//
// It exits with 0 when it did what was asked, 1 when it could not, and 2 when
// it was asked wrongly. Answers go to standard output and are lines for people,
// or JSON with -o json; everything else goes to standard error.
package main
