package message

import (
	"bytes"
	"encoding/binary"
)

// id returns the mid that the message got which came with the id of it before, 0
// if the id is not known. It returns errIDTaken if that was another message.
func (b boltTx) id(it item) (int64, error) {
	v := b.ids.Get(idKey(it))
	switch {
	case v == nil:
		return 0, nil
	case len(v) != 32:
		return 0, damaged("id", it.key)
	case idExpired(b, v):
		return 0, nil
	case !bytes.Equal(v[16:], bodyHash(it.msg.Body)):
		return 0, errIDTaken
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// putID remembers that it got mid, if it has an id.
func (b boltTx) putID(it item, mid int64) error {
	if !it.named {
		return nil
	}
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(mid))
	v = binary.BigEndian.AppendUint64(v, uint64(b.now+int64(idKept.Seconds())))
	return b.ids.Put(idKey(it), append(v, bodyHash(it.msg.Body)...))
}

func idKey(it item) []byte { return append(boltKey(it.key), it.msg.Nonce...) }

func idExpired(b boltTx, v []byte) bool {
	return len(v) == 32 && int64(binary.BigEndian.Uint64(v[8:])) <= b.now
}
