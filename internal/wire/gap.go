package wire

import "strconv"

// Gap is what a client that resumes is told instead of messages that are not
// kept any more:
//
//	{"gap":{"from":<mid>,"oldest":<mid>},"gid":0}
//
// It misses some of what lies between From, the last mid that it had, and
// Oldest, the first that it can still be sent; 0 if none is left.
type Gap struct{ From, Oldest int64 }

// AppendJSON appends the bare body.
func (g Gap) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"gap":{"from":`...), g.From, 10)
	dst = strconv.AppendInt(append(dst, `,"oldest":`...), g.Oldest, 10)
	return append(dst, `},"gid":0}`...)
}

// AppendTCP appends the notice in the form of a message to a TCP client.
func (g Gap) AppendTCP(dst []byte) []byte {
	body := g.AppendJSON(nil)
	dst = strconv.AppendInt(append(dst, '$'), int64(len(body)), 10)
	dst = append(append(dst, "\r\n"...), body...)
	return append(dst, "\r\n"...)
}

// AppendWS appends the notice as one text frame.
func (g Gap) AppendWS(dst []byte) []byte { return AppendText(dst, string(g.AppendJSON(nil))) }
