package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	built := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	tests := []struct {
		name, number string
		settings     []debug.BuildSetting
		want         string
	}{
		{"nothing known", "", nil, "devel (" + built + ")"},
		{"release", "1.2.0", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "false"}},
			"1.2.0 (commit 0123456, " + built + ")"},
		{"changed tree", "", []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
			"devel (commit abc+changes, " + built + ")"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(tt.number, tt.settings); got != tt.want {
				t.Errorf("describe = %q, want %q", got, tt.want)
			}
		})
	}
	if s := String(); strings.ContainsAny(s, "\n\r") || !strings.Contains(s, runtime.Version()) {
		t.Errorf("String = %q, want one line with the Go version", s)
	}
}
