package message

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

const (
	// tokensKept is how many live tokens a key may have: one a device, and some.
	tokensKept = 16
	// tokenLife is how long a token lives after it was last used.
	tokenLife = 30 * 24 * time.Hour
	// tokenGain is the least that a renewal must win to be worth a write.
	tokenGain = 24 * time.Hour
)

// token is a token of a key, as a store keeps it.
type token struct {
	key     string
	hash    string // hashToken
	expires int64  // unix second
	renew   bool   // lives for another tokenLife whenever it is used
}

// newToken returns the token that secret stands for. life is in seconds; 0 is
// tokenLife, renewed by use.
func newToken(pepper []byte, key, secret string, life int64, now time.Time) token {
	t := token{key: key, hash: hashToken(pepper, key, secret), renew: life == 0}
	if t.renew {
		life = int64(tokenLife / time.Second)
	}
	t.expires = endOf(now, life)
	return t
}

// hashToken returns what a store may know of a token: enough to recognise it,
// not enough to use it. The key is part of it, so that equal tokens of two keys
// do not look alike. Without a pepper, whoever reads the store can guess short
// tokens.
func hashToken(pepper []byte, key, secret string) string {
	h := hmac.New(sha256.New, pepper)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(key)))
	h.Write(n[:])
	h.Write([]byte(key))
	h.Write([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// maxExpiry is the last second of the year 9999. Later expiries are typing
// errors, and neither Redis nor a double gets on with all of them.
const maxExpiry = 253402300799

// endOf returns the unix second that lies seconds after now, at most maxExpiry.
func endOf[N int64 | uint](now time.Time, seconds N) int64 {
	if uint64(seconds) >= maxExpiry {
		return maxExpiry
	}
	return min(now.Unix()+int64(seconds), maxExpiry)
}
