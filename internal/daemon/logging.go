package daemon

import (
	"flag"
	"fmt"
	"os"
	"strconv"
)

// logging makes glog write to stderr unless it was given a folder, and makes
// that folder, for its owner only. Lines go into files at once unless
// -logbuflevel says otherwise: a kill -9 would take half a minute of them.
func (o options) logging() error {
	if o.given["v"] {
		v := flag.Lookup("v")
		v.DefValue = v.Value.String()
	}
	if !o.given["logbuflevel"] {
		if err := flag.Set("logbuflevel", "-1"); err != nil {
			return err
		}
	}
	if o.given["log_dir"] {
		if err := os.MkdirAll(flag.Lookup("log_dir").Value.String(), 0o700); err != nil {
			return fmt.Errorf("-log_dir: %w", err)
		}
		return nil
	}
	if !o.given["logtostderr"] {
		return flag.Set("logtostderr", "true")
	}
	return nil
}

// SetVerbosity makes glog log up to level v, or up to that of the flag -v if
// it is higher. A daemon calls it with log.v at start and after each reload.
func SetVerbosity(v int) error {
	f := flag.Lookup("v")
	if floor, err := strconv.Atoi(f.DefValue); err == nil { // logging left it there
		v = max(v, floor)
	}
	return f.Value.Set(strconv.Itoa(v))
}
