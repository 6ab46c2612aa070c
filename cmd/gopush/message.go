package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"gopush-cluster/internal/msg"
)

// readMessages returns the messages that args name. Each is one JSON value, or,
// with text, any text, which becomes a JSON string. "-" stands for standard
// input: a sequence of JSON values, or, with text, one message a line.
func readMessages(args []string, text bool, in io.Reader) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for _, arg := range args {
		var some []json.RawMessage
		var err error
		switch {
		case arg == "-" && text:
			some, err = lines(in)
		case arg == "-":
			some, err = values(in)
		case text:
			some = []json.RawMessage{quote(arg)}
		default:
			some = []json.RawMessage{json.RawMessage(arg)}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, usagef("standard input holds no message")
	}
	for i, m := range all {
		if err := checkMessage(m); err != nil {
			if len(all) > 1 {
				err = fmt.Errorf("message %d of %d: %w", i+1, len(all), err)
			}
			return nil, &usageError{err}
		}
	}
	return all, nil
}

// checkMessage says of a message that web would refuse why, and what to do.
func checkMessage(m json.RawMessage) error {
	_, err := msg.Canonical(m)
	if errors.Is(err, msg.ErrNotJSON) {
		var v any
		return fmt.Errorf("not valid JSON: %w\nTo push it as text, add --text", json.Unmarshal(m, &v))
	}
	return err
}

// values reads JSON values, in whatever lines they come.
func values(in io.Reader) ([]json.RawMessage, error) {
	var all []json.RawMessage
	d := json.NewDecoder(in)
	for {
		var m json.RawMessage
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, usagef("standard input, message %d: not valid JSON: %w\nTo push lines of text, add --text", len(all)+1, err)
		}
		all = append(all, m)
	}
}

// lines reads one message a line; empty lines are left out.
func lines(in io.Reader) ([]json.RawMessage, error) {
	var all []json.RawMessage
	s := bufio.NewScanner(in)
	s.Buffer(nil, msg.MaxBody)
	for s.Scan() {
		if len(s.Bytes()) > 0 {
			all = append(all, quote(s.Text()))
		}
	}
	if err := s.Err(); err != nil {
		return nil, usagef("standard input, message %d: %w", len(all)+1, err)
	}
	return all, nil
}

// quote returns s as a JSON string. What is not UTF-8 stays so, for checkMessage
// to refuse; encoding/json would replace it without a word.
func quote(s string) json.RawMessage {
	if !utf8.ValidString(s) {
		return json.RawMessage(s)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic("gopush: a string cannot be marshalled: " + err.Error())
	}
	return raw
}
