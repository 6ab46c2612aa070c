package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// number is set when a release is built:
//
//	go build -ldflags "-X gopush-cluster/internal/version.number=1.0.0"
//
// It is a variable only because the linker cannot set a constant.
var number string

// String returns the release, the commit and the Go version of this binary on
// one line, such as "1.0.0 (commit 3a1d14c, go1.26.8 linux/amd64)". What was
// not built from a release is "devel"; a changed work tree adds "+changes".
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(number, info.Settings)
}

func describe(number string, settings []debug.BuildSetting) string {
	if number == "" {
		number = "devel"
	}
	var commit, changed string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 7)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	parts := []string{fmt.Sprintf("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)}
	if commit != "" {
		parts = append([]string{"commit " + commit + changed}, parts...)
	}
	return number + " (" + strings.Join(parts, ", ") + ")"
}
