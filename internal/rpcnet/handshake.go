package rpcnet

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// The handshake, before the first gob frame:
//
//	client ─▶ magic (8) nonce c (32)
//	server ─▶ nonce s (32) HMAC-SHA256(secret, "server" c s)
//	client ─▶ HMAC-SHA256(secret, "client" c s)
//
// The client's proof travels with its first call. It needs no answer: it has
// seen that the server knows the secret, so its own proof will hold.
const (
	// magic begins with a byte that begins no gob stream: a message of no
	// bytes. An old daemon hangs up on it.
	magic     = "\x00gopush\x01"
	nonceSize = 32
)

var (
	errSecret   = errors.New("the secret of the other end is not ours")
	errNoSecret = errors.New("the other end offers no secret, and is neither loopback nor allowed")
	errNoneHere = errors.New("the other end offers a secret, and we have none")
	// errHungUp means that the other end closed the connection instead of
	// answering: it has no secret, or it is an old daemon.
	errHungUp = errors.New("the other end hung up on the handshake")
)

// offer is the client's half of the handshake.
func offer(conn io.ReadWriter, secret []byte) error {
	var hello [len(magic) + nonceSize]byte
	copy(hello[:], magic)
	c := hello[len(magic):]
	rand.Read(c)
	if _, err := conn.Write(hello[:]); err != nil {
		return fmt.Errorf("%w: %w", errHungUp, err)
	}
	var answer [nonceSize + sha256.Size]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("%w: %w", errHungUp, err)
	}
	s, theirs := answer[:nonceSize], answer[nonceSize:]
	if !hmac.Equal(theirs, proof(secret, "server", c, s)) {
		return errSecret
	}
	_, err := conn.Write(proof(secret, "client", c, s))
	return err
}

// answer is the server's half. It reads from r, where the magic lies next, and
// writes to w.
func answer(r io.Reader, w io.Writer, secret []byte) error {
	var hello [len(magic) + nonceSize]byte
	if _, err := io.ReadFull(r, hello[:]); err != nil {
		return err
	}
	if string(hello[:len(magic)]) != magic {
		return errors.New("neither gob nor our handshake")
	}
	c := hello[len(magic):]
	s := make([]byte, nonceSize)
	rand.Read(s)
	if _, err := w.Write(append(s[:nonceSize:nonceSize], proof(secret, "server", c, s)...)); err != nil {
		return err
	}
	var theirs [sha256.Size]byte
	if _, err := io.ReadFull(r, theirs[:]); err != nil {
		return err
	}
	if !hmac.Equal(theirs[:], proof(secret, "client", c, s)) {
		return errSecret
	}
	return nil
}

func proof(secret []byte, role string, c, s []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(role))
	h.Write(c)
	h.Write(s)
	return h.Sum(nil)
}
