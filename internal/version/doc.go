// Package version says which build is running.
package version
