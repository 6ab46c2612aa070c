// Package config reads the daemons' configuration files and checks them.
//
//	file ─Load─▶ Config (over its defaults) ─Validate─▶ Problems ─▶ *Error, exit code 2
//
// It is strict: an unknown key, a wrong type and a value out of range are
// errors, and all of them come out in one go, each with the key, the value,
// the rule and the fix. Nothing is applied from a file that has one.
//
// The sections that several daemons have are types of this package ([Listen],
// [Calls], [Trust], [ZooKeeper], ...). A daemon's own Config holds them by
// value, and only the keys it honours.
package config
