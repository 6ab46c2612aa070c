package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gopush-cluster/internal/mid"
)

// caller is a stock net/rpc client: the other end sees what an old daemon sees.
type caller struct{ *rpc.Client }

func (c caller) Call(_ context.Context, method string, args, reply any) error {
	return c.Client.Call(method, args, reply)
}
func (caller) Addr() string { return "pipe" }

// serve connects a caller to services by name.
func serve(t *testing.T, services map[string]any) Caller {
	t.Helper()
	srv := rpc.NewServer()
	for name, s := range services {
		if err := srv.RegisterName(name, s); err != nil {
			t.Fatal(err)
		}
	}
	a, b := net.Pipe()
	go srv.ServeConn(b)
	c := rpc.NewClient(a)
	t.Cleanup(func() { c.Close() })
	return caller{c}
}

// OldComet knows the calls of the contract only.
type OldComet struct{ got []string }

func (o *OldComet) PushPrivate(a *PushPrivateArgs, ret *int) error {
	o.got = append(o.got, fmt.Sprintf("%s %s %d", a.Key, a.Msg, a.Expire))
	if a.Key == "bad" {
		*ret = 65535
	}
	return nil
}

func (o *OldComet) PushPrivates(a *PushPrivatesArgs, r *PushPrivatesReply) error {
	o.got = append(o.got, fmt.Sprintf("%v %s %d", a.Keys, a.Msg, a.Expire))
	r.FKeys = a.Keys[1:2]
	return nil
}

func (o *OldComet) New(a *NewArgs, ret *int) error { *ret = len(a.Token); return nil }

func TestPushToAnOldComet(t *testing.T) {
	old := &OldComet{}
	c := NewComet(serve(t, map[string]any{"CometRPC": old}))
	got, err := c.Push(t.Context(), []Push{
		{Keys: []string{"k"}, Msg: json.RawMessage(`1`)},
		{Keys: []string{"bad"}, Msg: json.RawMessage(`2`)},
		{Keys: []string{"a", "b", "c"}, Msg: json.RawMessage(`3`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]PushResult{{}, {Code: Failed}, {}, {Code: Failed}, {}}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"k 1 0", "bad 2 0", "[a b c] 3 0"}, old.got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// OldMessage knows the calls of the contract only.
type OldMessageRPC struct{ msgs []*OldMessage }

func (o *OldMessageRPC) SavePrivate(a *SavePrivateArgs, ret *int) error {
	o.msgs = append(o.msgs, &OldMessage{Msg: a.Msg, MsgId: a.MsgId})
	return nil
}

func (o *OldMessageRPC) GetPrivate(a *GetPrivateArgs, r *GetPrivateReply) error {
	for _, m := range o.msgs {
		if m.MsgId > a.MsgId {
			r.Msgs = append(r.Msgs, m)
		}
	}
	return nil
}

func TestSaveAndReadOnAnOldMessageDaemon(t *testing.T) {
	far := mid.Of(time.Now()) + 40*mid.Second // another daemon's clock is ahead
	old := &OldMessageRPC{msgs: []*OldMessage{{Msg: json.RawMessage(`{ "a" : "<" }`), MsgId: far + 1}}}
	m := NewMessage(serve(t, map[string]any{"MessageRPC": old}))
	reply, err := m.Save(t.Context(), SaveArgs{
		Bodies: []json.RawMessage{json.RawMessage(`"x"`)},
		Items: []SaveItem{
			{Key: "k", Body: 0, ExpireAt: time.Now().Unix() + 60},
			{Key: "k", Body: 7, ExpireAt: time.Now().Unix() + 60},
			{Key: "k", Body: 0, ExpireAt: time.Now().Unix() + 60, Floor: far + 1000*mid.Step},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	first, third := reply.Results[0], reply.Results[2]
	if first.Code != OK || first.Mid <= far+1 || first.Mid%mid.Step != 0 || first.Prev != far+1 {
		t.Errorf("first = %+v, want a multiple of 80 above %d", first, far+1)
	}
	if reply.Results[1].Code != Invalid {
		t.Errorf("second = %+v, want Invalid: no such body", reply.Results[1])
	}
	if third.Code != OK || third.Mid <= far+1000*mid.Step || third.Prev != first.Mid {
		t.Errorf("third = %+v, want above the floor", third)
	}
	read, err := m.Read(t.Context(), ReadArgs{Items: []ReadItem{{Key: "k", Limit: 2}, {Key: "k", After: first.Mid}}})
	if err != nil {
		t.Fatal(err)
	}
	want := ReadResult{Last: third.Mid, Next: first.Mid, Msgs: []Stored{{Msg: json.RawMessage(`{"a":"\u003c"}`), Mid: far + 1}, {Msg: json.RawMessage(`"x"`), Mid: first.Mid}}}
	if diff := cmp.Diff(want, read.Results[0]); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if r := read.Results[1]; r.Last != third.Mid || len(r.Msgs) != 0 {
		t.Errorf("record only = %+v", r)
	}
	ahead, err := m.Read(t.Context(), ReadArgs{Items: []ReadItem{{Key: "k", After: 1<<63 - 1, Limit: 2}}})
	if err != nil || ahead.Results[0].Last != third.Mid || len(ahead.Results[0].Msgs) != 0 {
		t.Errorf("above what a client says: %+v, %v, want the last mid that is there, %d", ahead, err, third.Mid)
	}
	if _, err := m.Shards(t.Context()); !errors.Is(err, ErrNoMethod) {
		t.Errorf("Shards: %v, want ErrNoMethod", err)
	}
}

// failing answers every call with one error.
type failing struct{ err error }

func (f failing) Call(context.Context, string, any, any) error { return f.err }
func (failing) Addr() string                                   { return "failing" }

func TestErrorsAreRestored(t *testing.T) {
	broken := errors.New("broken pipe")
	tests := []struct {
		name string
		err  error
		want error
		why  string // what the callee added
	}{
		{"not mine, wrapped by the callee", rpc.ServerError(`comet: ` + ErrNotMine.Error() + `: key="k"`), ErrNotMine, `: key="k"`},
		{"invalid", rpc.ServerError(ErrInvalid.Error() + ": no key"), ErrInvalid, ": no key"},
		{"unknown text of an old daemon", rpc.ServerError("something else"), ErrFailed, ": something else"},
		{"no such method", rpc.ServerError("rpc: can't find method CometRPC.Close"), ErrNoMethod, ""},
		{"no such service", rpc.ServerError("rpc: can't find service CometRPC.Close"), ErrNoMethod, ""},
		{"transport errors pass", broken, broken, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := NewComet(failing{tt.err}).Close(t.Context(), "k")
			if !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			if !strings.HasSuffix(err.Error(), tt.why) {
				t.Errorf("err = %v, want what the callee said: %s", err, tt.why)
			}
		})
	}
	if err := NewComet(serve(t, map[string]any{"CometRPC": &OldComet{}})).New(t.Context(), "k", "tok", 0); !errors.Is(err, ErrFailed) {
		t.Errorf("a return code that is not 0: %v, want ErrFailed", err)
	}
}

func TestAnswersOfTheWrongLengthFail(t *testing.T) {
	m := NewMessage(short{})
	if _, err := m.Save(t.Context(), SaveArgs{Items: make([]SaveItem, 2)}); !errors.Is(err, ErrFailed) {
		t.Errorf("Save: %v", err)
	}
	if _, err := m.Read(t.Context(), ReadArgs{Items: make([]ReadItem, 2)}); !errors.Is(err, ErrFailed) {
		t.Errorf("Read: %v", err)
	}
	if _, err := NewComet(short{}).Push(t.Context(), []Push{{Keys: []string{"a"}}}); !errors.Is(err, ErrFailed) {
		t.Errorf("Push: %v", err)
	}
}

// short answers every call with nothing.
type short struct{}

func (short) Call(context.Context, string, any, any) error { return nil }
func (short) Addr() string                                 { return "short" }

func TestBudget(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if b := budget(ctx); b < 1 || b > 1350 {
		t.Errorf("budget = %d ms, want at most nine tenths of 1500", b)
	}
	if b := budget(context.Background()); b != 0 {
		t.Errorf("budget without an end = %d, want 0", b)
	}
	for _, tt := range []struct {
		name   string
		budget int64
		want   time.Duration
	}{
		{"caller in a hurry", 100, 100 * time.Millisecond},
		{"callee's own limit", 0, 2 * time.Second},
		{"caller too patient", 1 << 62, 2 * time.Second},
		{"negative", -5, 2 * time.Second},
	} {
		ctx, cancel := Within(t.Context(), tt.budget, 2*time.Second)
		end, _ := ctx.Deadline()
		if left := time.Until(end); left > tt.want || left < tt.want-time.Second {
			t.Errorf("%s: %v left, want about %v", tt.name, left, tt.want)
		}
		cancel()
	}
}

func TestCheckKey(t *testing.T) {
	for n, want := range map[int]error{0: ErrInvalid, 1: nil, 255: nil, 256: ErrInvalid} {
		if err := CheckKey(strings.Repeat("k", n)); !errors.Is(err, want) {
			t.Errorf("CheckKey of %d bytes = %v, want %v", n, err, want)
		}
	}
}
