package peer

import "encoding/json"

// The calls of the contract (docs/protocol.md, "RPC"). Gob matches fields by
// name: fields may be added here, never renamed or retyped.
type (
	// NewArgs is CometRPC.New: key may connect with token.
	NewArgs struct {
		Expire int64 // seconds the token lives; 0: 30 days, renewed by use
		Token  string
		Key    string
		Budget int64 // ours: milliseconds the call may take; 0: the callee's own timeout
	}
	// PushPrivateArgs is CometRPC.PushPrivate: one message for one key.
	PushPrivateArgs struct {
		Key    string
		Msg    json.RawMessage
		Expire uint // seconds; 0: only to who is online now
	}
	// PushPrivatesArgs is CometRPC.PushPrivates: one message for many keys.
	PushPrivatesArgs struct {
		Keys   []string
		Msg    json.RawMessage
		Expire uint
	}
	// PushPrivatesReply names the keys that failed.
	PushPrivatesReply struct{ FKeys []string }
	// MigrateArgs is CometRPC.Migrate: the ring as a web sees it.
	MigrateArgs struct {
		Nodes map[string]int // node → weight
		Epoch int64          // ours; 0: an old web's, "read again"
		Root  int64          // ours: epochs of a larger one are newer (registry.Snapshot)
		// Addrs are ours, too: where the RPC of a node's comet is, host:port, so
		// that a comet learns that a standby has taken its place.
		Addrs map[string][]string
	}
	// SavePrivateArgs is MessageRPC.SavePrivate: keep Msg under this very mid.
	SavePrivateArgs struct {
		Key    string
		Msg    json.RawMessage
		MsgId  int64
		Expire uint // seconds from now
	}
	// SavePrivatesArgs is MessageRPC.SavePrivates.
	SavePrivatesArgs struct {
		Keys   []string
		Msg    json.RawMessage
		MsgId  int64
		Expire uint
	}
	// SavePrivatesReply names the keys that failed.
	SavePrivatesReply struct{ FKeys []string }
	// GetPrivateArgs is MessageRPC.GetPrivate: what is kept above MsgId.
	GetPrivateArgs struct {
		MsgId int64
		Key   string
	}
	// OldMessage is a message in GetPrivateReply.
	OldMessage struct {
		Msg     json.RawMessage
		MsgId   int64
		GroupId uint
	}
	// GetPrivateReply holds messages by rising mid.
	GetPrivateReply struct{ Msgs []*OldMessage }
)

// Our own calls. They work on batches and answer for each item, so that one
// key's trouble is not another's. Budget is what is left of the caller's time
// in milliseconds; 0 leaves the callee its own timeout.
type (
	// PushArgs is CometRPC.Push.
	PushArgs struct {
		Pushes []Push
		Budget int64
		Sent   Sent // when, by the caller
	}
	// Push is one message for one or more keys of one comet.
	Push struct {
		Keys     []string
		Msg      json.RawMessage // canonical (msg.Canonical)
		ExpireAt int64           // unix second; 0: only to who is online now
		Nonce    string          // msg.ValidNonce, not empty when ExpireAt > 0
		Retry    bool            // the nonce may be stored already: look among all members
		Named    bool            // the nonce is the caller's id; see SaveItem.Named
	}
	// PushReply answers for each key of each push, in their order.
	PushReply struct{ Results []PushResult }
	// PushResult is what became of one message for one key.
	PushResult struct {
		Code Code
		Mid  int64 // of the stored or delivered message; 0 if it has none
	}

	// SaveArgs is MessageRPC.Save. All items of a call should lie on one shard.
	SaveArgs struct {
		Bodies []json.RawMessage // canonical; shared by items
		Items  []SaveItem
		Budget int64
		Sent   Sent
	}
	// SaveItem is one message for one key.
	SaveItem struct {
		Key      string
		Body     int   // index into SaveArgs.Bodies
		ExpireAt int64 // unix second, > 0
		Nonce    string
		Floor    int64 // largest mid the comet gave the key; mid.AtLeast: others may have given more
		Known    int64 // the nonce is looked for above this mid, unless Retry
		Retry    bool  // look for the nonce among all members
		// Named says that the nonce is an id which the caller of a push gave it, and
		// may give it again much later: it is looked for among all members and, for
		// ten minutes, among the ids of messages that are gone. ErrConflict: it was
		// another message's.
		Named   bool
		Pending bool // the owner does not know of this save: put the key into the shard's pending set
	}
	// SaveReply answers for each item, in their order.
	SaveReply struct{ Results []SaveResult }
	// SaveResult is what the store decided.
	SaveResult struct {
		Code Code
		Mid  int64 // of the message
		Prev int64 // the last mid of the key before it; for a nonce hit Prev == Mid, its first mid
	}

	// ReadArgs is MessageRPC.Read.
	ReadArgs struct {
		Items  []ReadItem
		Budget int64
	}
	// ReadItem asks for the messages of one key with a mid above After.
	ReadItem struct {
		Key   string
		After int64
		Limit int // at most this many, oldest first; 0: none, only Last and Trimmed
	}
	// ReadReply answers for each item, in their order.
	ReadReply struct{ Results []ReadResult }
	// ReadResult is what the store holds of one key.
	ReadResult struct {
		Code    Code
		Msgs    []Stored // by rising mid, none of them expired
		Last    int64    // the last mid of the key, foreign ones far ahead left out
		Trimmed int64    // the largest mid that newer ones pushed out before it expired
		// Next is where to read on when Limit was reached: above this mid, which is
		// not that of the last of Msgs if what followed could not be read. 0: there
		// is no more.
		Next int64
	}
	// Stored is a message in a ReadResult.
	Stored struct {
		Msg      json.RawMessage // canonical
		Mid      int64
		ExpireAt int64
	}

	// PendingArgs is MessageRPC.Pending: which keys had a message saved without
	// their comet (SaveItem.Pending)?
	PendingArgs struct {
		Limit  int // keys of each shard, oldest first
		Budget int64
	}
	// PendingReply names them. A shard that does not answer is left out.
	PendingReply struct{ Keys []PendingKey }
	// PendingKey is a key and the mid of the last such message.
	PendingKey struct {
		Key string
		Mid int64
	}
	// SettleArgs is MessageRPC.Settle: the comets of these keys know by now. A
	// key with a newer mid meanwhile stays pending.
	SettleArgs struct {
		Keys   []PendingKey
		Budget int64
	}
	// SyncArgs is CometRPC.Sync: a message of each key is stored that did not
	// come through this comet.
	SyncArgs struct{ Keys []PendingKey }
	// SyncReply answers for each key, in their order: OK or NotMine.
	SyncReply struct{ Codes []Code }

	// ForwardArgs is CometRPC.Forward: the owner of keys tells a comet that held
	// them before, and may still have sessions of theirs, what was pushed.
	ForwardArgs struct {
		Bodies []json.RawMessage // canonical; shared by items
		Items  []ForwardItem
		Budget int64
	}
	// ForwardItem is one message of one key, or a question about the key.
	ForwardItem struct {
		Key  string
		Body int   // index into ForwardArgs.Bodies; -1: only Given is asked for
		Mid  int64 // of a stored message; 0: it is not stored, and the callee gives the mid
		Prev int64 // the last mid of the key before a stored one
		// ExpireAt is the unix second after which a stored one is not served.
		ExpireAt int64
	}
	// ForwardReply answers for each item, in their order.
	ForwardReply struct{ Results []ForwardResult }
	// ForwardResult says how far the callee is with the key.
	ForwardResult struct {
		Given int64 // the largest mid that it gave to anyone; 0: it holds nothing of the key
	}
	// DoneArgs is CometRPC.Done: the comet at Addr holds no sessions any more
	// of keys that are not its own in the ring of Epoch.
	DoneArgs struct {
		Addr  string // host:port of its RPC; several with commas
		Epoch int64
		Root  int64 // that the epoch belongs to
		High  int64 // the largest mid that it ever gave to anyone
	}
	// ViewReply is CometRPC.View and MessageRPC.View (argument: int 0): the ring
	// as the callee sees it, for a comet that cannot ask ZooKeeper.
	ViewReply struct {
		Nodes map[string]int // node → weight
		Epoch int64
		Root  int64               // that the epoch belongs to
		Addrs map[string][]string // node → host:port of its comet's RPC
	}
	// ClockArgs is CometRPC.Clock and MessageRPC.Clock: what time is it there?
	ClockArgs struct {
		From  string // who asks: its kind and where it is
		Known bool   // it has asked before, and measured
		Off   int64  // then: milliseconds by which the callee's clock is ahead of its own
	}
	// ClockReply is the answer.
	ClockReply struct{ Now int64 } // unix nanoseconds

	// WeightArgs is CometRPC.Weight: from now on the comet has this weight,
	// until it is restarted.
	WeightArgs struct{ Weight int }

	// ShardsReply is MessageRPC.Shards (argument: int 0): the ring over the
	// stores, by which a comet sorts its saves into lanes.
	ShardsReply struct {
		Base  int            // ticks per unit of weight
		Nodes map[string]int // shard → weight
	}

	// TokenArgs is MessageRPC.TokenAdd and MessageRPC.TokenCheck.
	TokenArgs struct {
		Key    string
		Token  string
		Expire int64 // TokenAdd: seconds; 0: 30 days, renewed by use
		Budget int64
	}
	// TokenReply is the answer of MessageRPC.TokenCheck.
	TokenReply struct {
		State   TokenState
		Expires int64 // unix second at which a live token ends, if it is not renewed
	}
)

// TokenState is what the store knows of a key and a token.
type TokenState int

const (
	TokenNone  TokenState = iota // the key has no live token
	TokenOther                   // the key has a live token, but not this one
	TokenLive                    // this token is live
)
