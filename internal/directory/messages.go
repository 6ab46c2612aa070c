package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gopush-cluster/internal/peer"
	"gopush-cluster/internal/rpcnet"
)

// ErrNoMessage means that no message daemon is registered. Nothing was sent.
var ErrNoMessage = fmt.Errorf("%w: no message daemon is registered", rpcnet.ErrNotSent)

// Messages is the message daemons as one. Each call goes to one of those that
// answer their ping, drawn by weight. A call that was not sent goes to another
// one at once; a call whose answer was lost, or has not come in half of the
// time left, is made once more, elsewhere if there is an elsewhere. All of them
// can bear that: a save is known by its nonce, and the others change nothing
// when they are repeated.
//
// Errors are those of peer.Message. If the outcome is unknown, the error is
// rpcnet.ErrLost, whatever came of the second try.
type Messages struct{ d *Directory }

// Save stores the items of args and answers for each, in their order. An error
// means that none of them was surely stored.
func (m *Messages) Save(ctx context.Context, args peer.SaveArgs) (peer.SaveReply, error) {
	return call(ctx, m.d, func(ctx context.Context, to *peer.Message, again bool) (peer.SaveReply, error) {
		if again {
			args.Items = slices.Clone(args.Items) // the caller's own stay as they are
			for i := range args.Items {
				args.Items[i].Retry = true
			}
		}
		return to.Save(ctx, args)
	})
}

// Read returns what the stores hold of each key, in their order.
func (m *Messages) Read(ctx context.Context, args peer.ReadArgs) (peer.ReadReply, error) {
	return call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (peer.ReadReply, error) {
		return to.Read(ctx, args)
	})
}

// Shards returns the ring over the stores.
func (m *Messages) Shards(ctx context.Context) (peer.ShardsReply, error) {
	return call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (peer.ShardsReply, error) {
		return to.Shards(ctx)
	})
}

// TokenAdd stores a token of a key, or renews it.
func (m *Messages) TokenAdd(ctx context.Context, args peer.TokenArgs) error {
	_, err := call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (struct{}, error) {
		return struct{}{}, to.TokenAdd(ctx, args)
	})
	return err
}

// TokenCheck asks what the stores know of a key and a token.
func (m *Messages) TokenCheck(ctx context.Context, args peer.TokenArgs) (peer.TokenReply, error) {
	return call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (peer.TokenReply, error) {
		return to.TokenCheck(ctx, args)
	})
}

// Delete removes the stored messages of a key.
func (m *Messages) Delete(ctx context.Context, key string) error {
	_, err := call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (struct{}, error) {
		return struct{}{}, to.Delete(ctx, key)
	})
	return err
}

// Pending returns keys that had a message saved without their comet, at most
// limit of each shard, oldest first.
func (m *Messages) Pending(ctx context.Context, limit int) ([]peer.PendingKey, error) {
	return call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) ([]peer.PendingKey, error) {
		return to.Pending(ctx, limit)
	})
}

// Settle says that the comets of keys know by now.
func (m *Messages) Settle(ctx context.Context, keys []peer.PendingKey) error {
	_, err := call(ctx, m.d, func(ctx context.Context, to *peer.Message, _ bool) (struct{}, error) {
		return struct{}{}, to.Settle(ctx, keys)
	})
	return err
}

// call makes one call to the message daemons, with failover. again tells do
// that an earlier try may have been carried out.
func call[T any](ctx context.Context, d *Directory, do func(ctx context.Context, to *peer.Message, again bool) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var none T
	var tried []*link
	var lost, last error
	from := d.choice.Load()
	for {
		to := from.pick(d.random)
		if to == nil {
			switch {
			case lost != nil:
				return none, lost
			case last != nil:
				return none, last
			}
			return none, ErrNoMessage
		}
		v, err := try(ctx, to, lost != nil, do)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, peer.ErrNoMethod) && ctx.Err() == nil {
			d.doubt(to, err)
		}
		tried = append(tried, to)
		all := d.View().messages
		switch {
		case errors.Is(err, rpcnet.ErrLost) && lost == nil:
			lost = err
			if from = without(all, tried); len(from.members) == 0 {
				from, tried = newChoice(all), nil // then the same one: it may be back
			}
		case errors.Is(err, rpcnet.ErrNotSent), errors.Is(err, peer.ErrNoMethod): // an old one may stand beside newer ones
			from = without(all, tried)
		case lost != nil:
			return none, lost
		default:
			return none, err
		}
		if last = err; ctx.Err() != nil {
			from = &choice{} // no time is left
		}
	}
}

// try makes one try. While there may be a second one, it gets half of the time.
func try[T any](ctx context.Context, to *link, again bool, do func(ctx context.Context, to *peer.Message, again bool) (T, error)) (T, error) {
	if end, ok := ctx.Deadline(); ok && !again {
		half, cancel := context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
		ctx = half
	}
	return do(ctx, to.message, again)
}
