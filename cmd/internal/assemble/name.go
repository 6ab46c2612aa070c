package assemble

import (
	"os"
	"strings"
)

// nameOf is what a daemon calls itself to those whose clocks it compares with
// its own. A comet is called so by those who find it at that address, too.
func nameOf(kind, addr string) string { return kind + " " + addr }

// webName is for a web, which nobody finds: its addresses are often those of
// loopback, as on other machines.
func webName(addrs []string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "?" // then webs may be taken for one, which is all that is lost
	}
	return nameOf("web", host+" "+strings.Join(addrs, ","))
}
