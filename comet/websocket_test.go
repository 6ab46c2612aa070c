package comet

import (
	"bytes"
	"io"
	"testing"
	"time"

	"gopush-cluster/internal/wire"
)

// babbler is a client that breaks the protocol and goes on without end.
type babbler struct {
	*fakeSocket
	said int
}

const babble = 1 << 20

func (b *babbler) Read(p []byte) (int, error) {
	if b.isClosed() || b.said >= babble {
		return 0, io.EOF
	}
	b.said += len(p)
	return copy(p, bytes.Repeat([]byte{0xff}, len(p))), nil
}

func TestClientThatGoesOnAfterItsEndIsCutOff(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		sock := &babbler{fakeSocket: newFakeSocket()}
		sess, err := r.subscribe(sock, wire.Sub{Key: "k", Heartbeat: 30 * time.Second, Mid: -1, Pmid: -1}, overWebSocket)
		if err != nil {
			t.Fatal(err)
		}
		sess.readWS()
		r.leave(sess)
		if sock.said >= 2*lingerBytes || !sock.isClosed() {
			t.Errorf("%d bytes were read, closed %t; want about %d, and the end", sock.said, sock.isClosed(), lingerBytes)
		}
	})
}
