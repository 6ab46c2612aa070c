package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// signedFor is how far the time of a signature may be from ours.
const signedFor = 60 // seconds

// tokenAddPublic is /1/token/add on http.bind. It hands out access, and this
// port faces the internet: see mayAddToken.
func (s *Server) tokenAddPublic(q *request) ([]byte, error) {
	if err := s.mayAddToken(q); err != nil {
		return nil, err
	}
	return s.tokenAdd(q)
}

// mayAddToken decides who may add a token through http.bind: who signs, from
// wherever; else who is on this machine or in token.allow and speaks for
// himself, not for somebody behind a proxy or in a browser.
func (s *Server) mayAddToken(q *request) error {
	rule := s.rules.Load()
	const sign = "; sign the call (ts, sig) with the secret of token.secret_file, or use admin.bind"
	if q.query.Has("sig") {
		return s.checkSignature(q, rule.tokenSecret)
	}
	peer := peerOf(q.Request)
	allowed := within(peer, rule.tokenAllow)
	switch {
	case !allowed && !peer.IsLoopback():
		return forbidden("only this machine and token.allow may add tokens here" + sign)
	case forwarded(q.Request):
		return forbidden("a forwarded request may not add tokens" + sign)
	case crossSite(q.Request):
		return forbidden("a page of another site may not add tokens" + sign)
	case !allowed && !loopbackHost(q.Request):
		return forbidden("the Host is not a name of this machine alone: use localhost or 127.0.0.1" + sign)
	}
	return nil
}

// checkSignature checks sig, the hex of HMAC-SHA256(secret, k "\n" t "\n" ts),
// and that ts is of now. It says nothing about which part was wrong.
func (s *Server) checkSignature(q *request, secret []byte) error {
	if len(secret) == 0 {
		return forbidden("signed calls need token.secret_file here")
	}
	ts := q.query.Get("ts")
	at, err := strconv.ParseInt(ts, 10, 64)
	sig, hexErr := hex.DecodeString(q.query.Get("sig"))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(q.query.Get(q.names.key) + "\n" + q.query.Get(q.names.token) + "\n" + ts))
	now := s.now().Unix()
	if !hmac.Equal(sig, mac.Sum(nil)) || err != nil || hexErr != nil || at < now-signedFor || at > now+signedFor {
		return forbidden("the signature is wrong or not of the last minute: check the secret and the clock")
	}
	return nil
}

// tokenAdd lets a key connect with a token. The key's comet stores it, so that
// it knows it from then on; where the comet is out of reach, web does. Adding a
// token again only renews it, so a lost answer needs no care.
func (s *Server) tokenAdd(q *request) ([]byte, error) {
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	token, err := q.token()
	if err != nil {
		return nil, err
	}
	var expire int64 // none given: 30 days, renewed by use
	if q.query.Has(q.names.expire) {
		if expire, err = q.seconds(q.names.expire, 1); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), timeFor(1))
	defer cancel()
	if _, err := s.owner(ctx, key); err != nil {
		return nil, err
	}
	err = s.tokenToComet(ctx, key, token, expire)
	if errors.Is(err, errUnreachable) {
		err = s.stored.TokenAdd(ctx, peer.TokenArgs{Key: key, Token: token, Expire: expire})
	}
	return nil, outcome(err)
}

// errUnreachable: the owner of a key cannot be asked, or does not answer.
var errUnreachable = errors.New("web: the owner is out of reach")

// tokenToComet asks the owner, for half of the time at most.
func (s *Server) tokenToComet(ctx context.Context, key, token string, expire int64) error {
	ctx, cancel := context.WithTimeout(ctx, (pushTime-answerTime)/2)
	defer cancel()
	for turn := 1; ; turn++ {
		comet, err := s.dir.Comet(key)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreachable, err)
		}
		if err = comet.New(ctx, key, token, expire); err != nil {
			err = fmt.Errorf("key=%q comet=%s: %w", key, comet.Addr(), err)
		}
		switch {
		case errors.Is(err, rpcnet.ErrNotSent), errors.Is(err, rpcnet.ErrLost):
			return fmt.Errorf("%w: %w", errUnreachable, err)
		case !errors.Is(err, peer.ErrNotMine):
			return err
		case turn == turns:
			return fmt.Errorf("%w: %w", errUnreachable, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errUnreachable, ctx.Err())
		case <-time.After(turnWait):
		}
	}
}
