package registry

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// sortNames sorts the names of sequential znodes, oldest first.
func sortNames(names []string) { slices.SortFunc(names, compareNames) }

// compareNames orders two sequential znodes of one parent by age. ZooKeeper
// counts in an int32 that wraps to negative, so what decides is the distance
// between the two, not their digits. A name without a number, which nobody
// of ours creates, is youngest.
func compareNames(a, b string) int {
	m, aok := sequence(a)
	n, bok := sequence(b)
	switch {
	case aok && bok && m != n:
		return cmp.Compare(m-n, 0) // wraps as the counter does
	case aok != bok && aok:
		return -1
	case aok != bok:
		return 1
	}
	return strings.Compare(a, b)
}

// sequence returns the number at the end of name: "0000000012", "-2147483648",
// "x-0000000012".
func sequence(name string) (int32, bool) {
	if n, err := strconv.ParseInt(name, 10, 32); err == nil {
		return int32(n), true
	}
	digits := name[len(strings.TrimRight(name, "0123456789")):]
	n, err := strconv.ParseInt(digits, 10, 32)
	return int32(n), err == nil
}
