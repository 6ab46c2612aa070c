package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"gopush-cluster/internal/msg"
	"gopush-cluster/internal/wire"
)

const (
	// maxKeys bounds the keys of one call.
	maxKeys = 100_000
	// maxMany bounds the body of an mprivate: each byte of a message may take
	// six as an escape, and the keys are what is left.
	maxMany = 6*msg.MaxBody + maxKeys*(wire.MaxKey+1)
)

// message is one pushed message, checked and ready to be sent.
type message struct {
	body     json.RawMessage // canonical
	expireAt int64           // unix second; 0: only to who is online now
	nonce    string          // tells a repeat from an equal message
	named    bool            // the nonce is the caller's id, which may come again much later
}

// pushPrivate pushes the body to one key.
func (s *Server) pushPrivate(q *request) ([]byte, error) {
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	body, err := q.body(msg.MaxBody)
	if err != nil {
		return nil, err
	}
	m, err := s.newMessage(q, body)
	if err != nil {
		return nil, err
	}
	// Without the caller's end: a push that was begun is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), timeFor(1))
	defer cancel()
	if _, err := s.owner(ctx, key); err != nil {
		return nil, err
	}
	t := newTarget(key)
	s.deliver(ctx, m, []*target{t})
	return nil, outcome(t.err())
}

// pushPrivates pushes one message to many keys, and names those that failed in
// the order in which they were given. A key that can never be pushed to is one
// of them: it must not cost the others their message.
func (s *Server) pushPrivates(q *request) ([]byte, error) {
	body, err := q.body(maxMany)
	if err != nil {
		return nil, err
	}
	raw, keys, err := parseMany(body)
	if err != nil {
		return nil, err
	}
	m, err := s.newMessage(q, raw)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), timeFor(len(keys)))
	defer cancel()
	if _, err := s.owner(ctx, keys[0]); err != nil {
		return nil, err
	}
	failed, why := s.deliverMany(ctx, m, keys)
	if len(failed) == 0 {
		return nil, nil
	}
	s.failed.printf("web: push failed for some keys=%d failed=%d err=%q", len(keys), len(failed), why)
	fk, err := json.Marshal(failed)
	if err != nil {
		return nil, fmt.Errorf("web: fk: %w", err)
	}
	return append(append([]byte(`{"fk":`), fk...), '}'), nil
}

// parseMany reads {"m":"<the message as a JSON string>","k":"k1,k2,k3"}. Space
// around a key and empty keys are left out, and a key named twice is given once.
func parseMany(body []byte) (raw []byte, keys []string, err error) {
	if !utf8.Valid(body) { // encoding/json would put U+FFFD in its place
		return nil, nil, fmt.Errorf("%w: the body is not UTF-8", errParam)
	}
	var many struct {
		M, K *string
	}
	if err := json.Unmarshal(body, &many); err != nil {
		return nil, nil, fmt.Errorf(`%w: the body: want {"m":"<JSON>","k":"k1,k2"}`, errParam)
	}
	if many.M == nil || many.K == nil {
		return nil, nil, fmt.Errorf("%w: the body: want both m and k", errParam)
	}
	keys, err = splitKeys(*many.K)
	return []byte(*many.M), keys, err
}

// newMessage checks what is common to all pushes.
func (s *Server) newMessage(q *request, raw []byte) (message, error) {
	expire, err := q.seconds(q.names.expire, 0)
	if err != nil {
		return message{}, err
	}
	body, err := msg.Canonical(raw)
	if errors.Is(err, msg.ErrTooLarge) {
		return message{}, errTooLarge
	}
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", errParam, err)
	}
	m := message{body: body}
	if expire > 0 {
		// Rounded up: a message lives at least as long as it was given.
		end := s.now().Add(time.Duration(expire)*time.Second + time.Second - 1)
		m.expireAt = end.Unix()
	}
	id, err := q.id()
	switch {
	case err != nil:
		return message{}, err
	case id != "":
		// Hashed, so that any id will do. The store looks for it among the
		// messages of one key only: keys need not differ in their ids.
		sum := sha256.Sum256([]byte(id))
		m.nonce, m.named = "i"+hex.EncodeToString(sum[:16]), true
	default:
		var nonce [16]byte
		if _, err := io.ReadFull(s.random, nonce[:]); err != nil {
			return message{}, fmt.Errorf("web: no random bytes for a nonce: %w", err)
		}
		m.nonce = hex.EncodeToString(nonce[:])
	}
	return m, nil
}
