package arch

// module is the path of ours, and the prefix of all its packages.
const module = "gopush-cluster/"

// levels places every package, by its path within the module. A new package
// is given its place here before it imports or is imported.
var levels = map[string]int{
	"internal/backoff":   1,
	"internal/batch":     1,
	"internal/wallclock": 1,
	"internal/config":    1,
	"internal/ketama":    1,
	"internal/mid":       1,
	"internal/msg":       1,
	"internal/version":   1,
	"internal/wire":      1,
	"scripts":            1, // the schema; its tests start clusters as people do

	"internal/daemon":   2,
	"internal/ops":      2,
	"internal/registry": 2,
	"internal/rpcnet":   2,
	"internal/skew":     2,

	"internal/peer": 3,

	"comet":              4,
	"comet/client":       4,
	"internal/directory": 4,
	"message":            4,
	"web":                4,
	"web/client":         4,

	"cmd/internal/assemble": 5,

	"cmd/comet":   6,
	"cmd/gopush":  6,
	"cmd/message": 6,
	"cmd/web":     6,
}

// forTests are the packages that serve tests: no daemon imports them. They
// themselves may import packages below the level given.
var forTests = map[string]int{
	"internal/arch":    0,
	"internal/testenv": 0, // starts real servers; knows none of our packages
	"internal/chaos":   0, // whole clusters under faults, judged by what they showed
	"internal/e2e":     6, // whole clusters, and clients of all kinds
	"conf":             6, // its examples against the daemons' defaults
	"docs":             6, // its tables against the daemons' keys
}

// thirdParty says for each module that is not ours who may import it. One that
// is missing here is missing on purpose or was never discussed.
var thirdParty = map[string]users{
	"github.com/BurntSushi/toml":     {only: []string{"internal/config"}},
	"github.com/go-sql-driver/mysql": {only: []string{"message"}},
	"github.com/go-zookeeper/zk":     {only: []string{"internal/registry"}},
	"github.com/golang/glog":         {above: 1},
	"github.com/gomodule/redigo":     {only: []string{"message"}},
	"github.com/google/go-cmp":       {tests: true},
	"github.com/gorilla/websocket":   {only: []string{"comet", "comet/client"}},
	"github.com/spf13/cobra":         {only: []string{"cmd/gopush"}},
	"github.com/spf13/pflag":         {only: []string{"cmd/gopush"}},
	"go.etcd.io/bbolt":               {only: []string{"message"}},
	"go.uber.org/goleak":             {tests: true},
	"golang.org/x/sync":              {above: 1},
	"golang.org/x/sys":               {above: 1},
	"golang.org/x/time":              {above: 1},
}

// users says who may import a module. The packages of forTests may import all
// that are listed: they stand for clients and for old daemons.
type users struct {
	only  []string // these packages and their tests; none: everyone
	above int      // packages above this level and their tests
	tests bool     // tests alone
}
