package message

import (
	"context"
	"database/sql"

	"github.com/golang/glog"

	"gopush-cluster/internal/peer"
)

// AddToken implements store.
func (s *mysqlStore) AddToken(ctx context.Context, t token) error {
	err := s.on(ctx, []string{t.key}, func(tx *mysqlTx) error { return tx.addToken(t) })
	if err != nil {
		return s.failed(err)
	}
	return nil
}

func (t *mysqlTx) addToken(tok token) error {
	var live []string // the other ones, the first to end first
	err := each(t.ctx, t.conn, func(r *sql.Rows) error {
		var hash []byte
		err := r.Scan(&hash)
		live = append(live, string(hash))
		return err
	}, "SELECT hash FROM gopush_token WHERE skey = ? AND hash <> ? AND expires > ? ORDER BY expires", []byte(tok.key), []byte(tok.hash), t.now)
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM gopush_token WHERE skey = ? AND expires <= ?", []byte(tok.key), t.now); err != nil {
		return err
	}
	for ; len(live) >= tokensKept; live = live[1:] {
		if err := t.exec("DELETE FROM gopush_token WHERE skey = ? AND hash = ?", []byte(tok.key), []byte(live[0])); err != nil {
			return err
		}
	}
	return t.exec("INSERT INTO gopush_token (skey, hash, expires, renew) VALUES (?,?,?,?)"+
		" ON DUPLICATE KEY UPDATE expires = VALUES(expires), renew = VALUES(renew)", []byte(tok.key), []byte(tok.hash), tok.expires, tok.renew)
}

// CheckToken implements store.
func (s *mysqlStore) CheckToken(ctx context.Context, key, hash string) (peer.TokenReply, error) {
	var reply peer.TokenReply
	now := s.Now().Unix()
	var end int64 // to which it is renewed
	err := each(ctx, s.pool, func(r *sql.Rows) error {
		var this, renew bool
		var expires int64
		if err := r.Scan(&this, &expires, &renew); err != nil {
			return err
		}
		if !this {
			reply.State = max(reply.State, peer.TokenOther)
			return nil
		}
		reply = peer.TokenReply{State: peer.TokenLive, Expires: expires}
		if longer := now + int64(tokenLife.Seconds()); renew && longer-expires >= int64(tokenGain.Seconds()) {
			end = longer
		}
		return nil
	}, "SELECT hash = ?, expires, renew FROM gopush_token WHERE skey = ? AND expires > ?", []byte(hash), []byte(key), now)
	if err != nil {
		return peer.TokenReply{}, s.failed(err)
	}
	if end == 0 {
		return reply, nil
	}
	err = s.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "UPDATE gopush_token SET expires = GREATEST(expires, ?) WHERE skey = ? AND hash = ?", end, []byte(key), []byte(hash))
		return err
	})
	if err != nil { // it is live whether or not its life can be prolonged now
		glog.Warningf("message: token not renewed key=%q err=%q", key, s.failed(err))
	} else {
		reply.Expires = end
	}
	return reply, nil
}
