package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"gopush-cluster/internal/config"
)

// format is the value of -o.
type format struct{ json bool }

func (f *format) String() string {
	if f.json {
		return "json"
	}
	return "text"
}

func (f *format) Set(s string) error {
	switch s {
	case "text":
		f.json = false
	case "json":
		f.json = true
	default:
		return fmt.Errorf("want text or json")
	}
	return nil
}

func (f *format) Type() string { return "text|json" }

// printJSON writes v as one line. The pushed JSON inside stays as it came.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows in columns under a head.
func table(w io.Writer, head string, rows []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for _, r := range rows {
		fmt.Fprintln(t, r)
	}
	return t.Flush()
}

// plain prints a duration without the zeros at its end: "24h", not "24h0m0s".
func plain(d time.Duration) string { return config.Duration(d).String() }
