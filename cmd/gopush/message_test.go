package main

import (
	"errors"
	"strings"
	"testing"
)

func TestReadMessages(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		text  bool
		stdin string
		want  []string
		fails string // part of the error; "": none
	}{
		{name: "an object", args: []string{`{"a":1}`}, want: []string{`{"a":1}`}},
		{name: "null is a message", args: []string{`null`}, want: []string{`null`}},
		{name: "several, in order", args: []string{`1`, `"two"`, `[3]`}, want: []string{`1`, `"two"`, `[3]`}},
		{name: "text becomes a string", args: []string{`he said "hi"`}, text: true, want: []string{`"he said \"hi\""`}},
		{name: "empty text is a message", args: []string{``}, text: true, want: []string{`""`}},
		{name: "a word is not JSON", args: []string{`hello`}, fails: "add --text"},
		{name: "nothing is not JSON", args: []string{``}, fails: "add --text"},
		{name: "two values in one argument", args: []string{`1 2`}, fails: "not valid JSON"},
		{name: "the wrong one is named", args: []string{`1`, `two`}, fails: "message 2 of 2"},
		{name: "not UTF-8", args: []string{"\"\xff\""}, fails: "UTF-8"},
		{name: "text that is not UTF-8", args: []string{"\xff"}, text: true, fails: "UTF-8"},
		{name: "too large", args: []string{`"` + strings.Repeat("a", 1<<20) + `"`}, fails: "1 MiB"},
		{name: "values from standard input", args: []string{"-"}, stdin: "{\"a\":\n 1}\n2 3", want: []string{"{\"a\":\n 1}", `2`, `3`}},
		{name: "lines from standard input", args: []string{"-"}, text: true, stdin: "one\n\ntwo", want: []string{`"one"`, `"two"`}},
		{name: "standard input between others", args: []string{`1`, "-", `3`}, stdin: "2", want: []string{`1`, `2`, `3`}},
		{name: "broken standard input", args: []string{"-"}, stdin: "1 {", fails: "message 2: not valid JSON"},
		{name: "empty standard input", args: []string{"-"}, fails: "holds no message"},
		{name: "a line without end", args: []string{"-"}, text: true, stdin: strings.Repeat("a", 2<<20), fails: "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readMessages(tt.args, tt.text, strings.NewReader(tt.stdin))
			if tt.fails != "" {
				var usage *usageError
				if err == nil || !strings.Contains(err.Error(), tt.fails) || !errors.As(err, &usage) {
					t.Fatalf("readMessages = %v, want a usage error with %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, m := range got {
				texts = append(texts, string(m))
			}
			if strings.Join(texts, "|") != strings.Join(tt.want, "|") {
				t.Fatalf("readMessages = %q, want %q", texts, tt.want)
			}
		})
	}
}
