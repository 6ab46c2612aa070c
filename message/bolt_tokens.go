package message

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
)

// AddToken implements store.
func (s *boltStore) AddToken(ctx context.Context, t token) error {
	_, err := write(ctx, s, func(b boltTx) (struct{}, error) {
		return struct{}{}, b.addToken(t)
	})
	return err
}

func (b boltTx) addToken(t token) error {
	name := append(boltKey(t.key), t.hash...)
	var live, first int64 // how many others are live, and when the first of them ends
	var victim []byte
	for k, v := range b.tokensOf(t.key) {
		switch expires, _ := splitToken(v); {
		case bytes.Equal(k, name):
		case expires <= b.now:
			if err := b.tokens.Delete(k); err != nil {
				return err
			}
		default:
			live++
			if victim == nil || expires < first {
				victim, first = k, expires
			}
		}
	}
	if live >= tokensKept {
		if err := b.tokens.Delete(victim); err != nil {
			return err
		}
	}
	return b.tokens.Put(name, joinToken(t.expires, t.renew))
}

// CheckToken implements store.
func (s *boltStore) CheckToken(ctx context.Context, key, hash string) (peer.TokenReply, error) {
	var reply peer.TokenReply
	var renewed token
	err := s.view(func(b boltTx) error {
		name := append(boltKey(key), hash...)
		for k, v := range b.tokensOf(key) {
			expires, renew := splitToken(v)
			if expires <= b.now {
				continue
			}
			if !bytes.Equal(k, name) {
				reply.State = max(reply.State, peer.TokenOther)
				continue
			}
			reply = peer.TokenReply{State: peer.TokenLive, Expires: expires}
			if end := b.now + int64(tokenLife.Seconds()); renew && end-expires >= int64(tokenGain.Seconds()) {
				renewed = token{key: key, hash: hash, expires: end, renew: true}
			}
		}
		return nil
	})
	if err != nil {
		return peer.TokenReply{}, unavailable(s.db.Path(), err)
	}
	if renewed.hash != "" {
		// The token is live whether or not its life can be prolonged now.
		if err := s.AddToken(ctx, renewed); err != nil {
			glog.Warningf("message: token not renewed key=%q err=%q", key, err)
		} else {
			reply.Expires = renewed.expires
		}
	}
	return reply, nil
}

// tokensOf returns a copy of the tokens of key, so that they can be changed in
// passing.
func (b boltTx) tokensOf(key string) func(yield func(k, v []byte) bool) {
	type pair struct{ k, v []byte }
	var all []pair
	prefix := boltKey(key)
	c := b.tokens.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		all = append(all, pair{bytes.Clone(k), bytes.Clone(v)})
	}
	return func(yield func(k, v []byte) bool) {
		for _, p := range all {
			if !yield(p.k, p.v) {
				return
			}
		}
	}
}

func joinToken(expires int64, renew bool) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(expires))
	if renew {
		return append(v, 1)
	}
	return append(v, 0)
}

// splitToken is the reverse of joinToken. What it cannot read has expired.
func splitToken(v []byte) (expires int64, renew bool) {
	if len(v) != 9 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), v[8] == 1
}
