package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/wire"
)

const (
	// everything is more messages than a store keeps of a key.
	everything = 1 << 20
	// maxForm bounds the form that names the key whose messages are deleted: a
	// key of 255 bytes may take three times that, and there may be more in it.
	maxForm = 16 << 10
)

// messages answers /1/msg/get: what is kept for the key above the client's last
// mid. Where nothing is, the answer has no data at all.
func (s *Server) messages(q *request) ([]byte, error) {
	stored, err := s.missed(q)
	if err != nil || len(stored) == 0 {
		return nil, err
	}
	data := []byte(`{"msgs":[`)
	for i, m := range stored {
		if i > 0 {
			data = append(data, ',')
		}
		data = wire.NewBody(m.Msg, private, false).AppendJSON(data, m.Mid)
	}
	return append(data, "]}"...), nil
}

// messagesOld answers /msg/get: each body in a string, in the form of an old
// client. Both arrays are always there, for two clients fail without.
func (s *Server) messagesOld(q *request) ([]byte, error) {
	stored, err := s.missed(q)
	if err != nil {
		return nil, err
	}
	data := []byte(`{"msgs":[`)
	for i, m := range stored {
		if i > 0 {
			data = append(data, ',')
		}
		body := wire.NewBody(m.Msg, private, true).AppendJSON(nil, m.Mid)
		data = append(data, quote(string(body))...)
	}
	return append(data, `],"pmsgs":[]}`...), nil
}

// private is the gid of a message to a key.
const private = 0

// missed reads the key's messages above the client's mid. Where auth is on it
// wants a live token of the key, on the old URL too, which would be a way round
// it otherwise. A wrong token and none at all get the same answer.
func (s *Server) missed(q *request) ([]peer.Stored, error) {
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	after, err := q.mid()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.Context(), s.timeout)
	defer cancel()
	if s.rules.Load().auth {
		token, err := q.token()
		if err != nil {
			return nil, err
		}
		found, err := s.stored.TokenCheck(ctx, peer.TokenArgs{Key: key, Token: token})
		if err != nil {
			return nil, fmt.Errorf("web: token not checked: %w", err)
		}
		if found.State != peer.TokenLive {
			return nil, fmt.Errorf("%w: %s: not a live token of this key", errParam, q.names.token)
		}
	}
	reply, err := s.stored.Read(ctx, peer.ReadArgs{Items: []peer.ReadItem{{Key: key, After: after, Limit: everything}}})
	if err != nil {
		return nil, fmt.Errorf("web: messages not read: %w", err)
	}
	if len(reply.Results) != 1 {
		return nil, fmt.Errorf("%w: one key was read, %d answers", peer.ErrFailed, len(reply.Results))
	}
	r := reply.Results[0]
	return r.Msgs, outcome(r.Code.Err())
}

// deleteMessages deletes what is kept for a key, which is named in the query or
// in the body as a form.
func (s *Server) deleteMessages(q *request) ([]byte, error) {
	if q.query.Get(q.names.key) == "" {
		body, err := q.body(maxForm)
		if err != nil {
			return nil, err
		}
		q.query, _ = url.ParseQuery(string(body)) // the error names a pair that is left out
	}
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.Context(), s.timeout)
	defer cancel()
	return nil, outcome(s.stored.Delete(ctx, key))
}

// outcome turns what another daemon said of an item into an error of ours: what
// it calls invalid is a parameter of the caller's.
func outcome(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, peer.ErrInvalid) {
		return fmt.Errorf("%w: %w", errParam, err)
	}
	return fmt.Errorf("web: not done: %w", err)
}
