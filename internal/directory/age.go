package directory

import "time"

// age orders views by when the registry was as they say. An ensemble that was
// wiped counts its epochs anew, under a new root: each of them is newer than all
// of the old root, however small.
type age struct{ root, epoch int64 }

func (v *View) age() age { return age{v.Root, v.Epoch} }

// newer reports whether a is later than b. A daemon that tells no root means
// the one that is known here.
func (a age) newer(b age) bool {
	if a.foreign(b) {
		return a.root > b.root
	}
	return a.epoch > b.epoch
}

// foreign reports whether a and b belong to two roots.
func (a age) foreign(b age) bool { return a.root != b.root && a.root != 0 && b.root != 0 }

// settling is how long a new root is not believed by hearsay: who tells of it
// may have started after the others were forgotten, and know only those that
// have registered again. With a zookeeper.timeout of 20 s or less it outlasts the
// time in which they do.
const settling = 2 * time.Minute

// settled reports whether a root that was made then is older than settling.
func (a age) settled(now time.Time) bool { return now.Sub(time.UnixMilli(a.root)) >= settling }
